//! Generates the messages and clients from the protos.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = [
        "crossrun/v1/vision.proto",
        "crossrun/v1/providers.proto",
        "crossrun/oip/grpc_service.proto",
    ];
    println!("cargo:rerun-if-changed=../../proto/crossrun");
    let files = protox::compile(protos, ["../../proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(files)?;
    Ok(())
}
