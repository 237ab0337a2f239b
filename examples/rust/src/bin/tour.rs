//! Shows what else a client does, one line for each step.
//! Usage: tour ADDRESS MODEL; RETRY_ADDRESS is a server that may be unavailable for a moment.

use std::time::Duration;

use crossrun_client::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use crossrun_client::inference::model_infer_request::InferInputTensor;
use crossrun_client::inference::{ModelInferRequest, ModelMetadataRequest, ServerLiveRequest};
use crossrun_client::{
    connect, fail, retried, spelt, unusable, Connection, KEEPALIVE, LARGEST_ANSWER,
};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::HealthCheckRequest;

type Client = GrpcInferenceServiceClient<Connection>;

/// Reads the first of the states that the server streams whenever a model's changes.
async fn watch(address: &str, model: &str) -> Result<String, Status> {
    let request = HealthCheckRequest {
        service: model.into(),
    };
    let states = HealthClient::new(connect(address)?).watch(request).await?;
    let first = states.into_inner().message().await?; // and the stream ends, as it is dropped
    Ok(first
        .map_or("", |state| state.status().as_str_name())
        .into())
}

/// Bytes of one element.
fn size(datatype: &str) -> Result<i64, Status> {
    Ok(match datatype {
        "BOOL" | "INT8" | "UINT8" => 1,
        "INT16" | "UINT16" | "FP16" | "BF16" => 2,
        "INT32" | "UINT32" | "FP32" => 4,
        "INT64" | "UINT64" | "FP64" => 8,
        other => return Err(unusable(format!("an input of {other} has no zeros"))),
    })
}

/// A request of a model's own inputs, all 0, one row each.
async fn zeros(client: &mut Client, model: &str) -> Result<ModelInferRequest, Status> {
    let asked = ModelMetadataRequest {
        name: model.into(),
        ..Default::default()
    };
    let described = client.model_metadata(asked).await?.into_inner();
    let mut request = ModelInferRequest {
        model_name: model.into(),
        ..Default::default()
    };
    for input in described.inputs {
        let shape: Vec<i64> = input.shape.iter().map(|&n| n.max(1)).collect(); // -1: any length
        let bytes = size(&input.datatype)? * shape.iter().product::<i64>();
        request.raw_input_contents.push(vec![0; bytes as usize]);
        request.inputs.push(InferInputTensor {
            name: input.name,
            datatype: input.datatype,
            shape,
            ..Default::default()
        });
    }
    Ok(request)
}

/// Sends a raw tensor and reads the first that comes back.
async fn tensor(client: &mut Client, request: ModelInferRequest) -> Result<String, Status> {
    let answer = client.model_infer(request).await?.into_inner();
    let output = &answer.outputs[0];
    if output.datatype == "FP32" {
        let values = answer.raw_output_contents[0].chunks_exact(4);
        let mut floats = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        if !floats.all(f32::is_finite) {
            return Err(Status::internal(
                "the output has values that are not finite",
            ));
        }
    }
    Ok(format!(
        "{} {:?}",
        output.datatype.to_lowercase(),
        output.shape
    ))
}

/// Gives the server less time than it can do with. If tonic's own timer is first, it says
/// CANCELLED; of a call that nobody cancels that means the deadline.
async fn deadline(client: &mut Client, request: ModelInferRequest) -> String {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_micros(1));
    let answer = client.model_infer(request).await;
    ended(answer.map_err(|status| match status.code() {
        Code::Cancelled => Status::deadline_exceeded(status.message()),
        _ => status,
    }))
}

/// Gives up a call that is under way: who drops its future cancels it.
async fn cancelled(client: &mut Client) -> String {
    let call = client.model_stream_infer(tokio_stream::pending());
    let answer = async { call.await?.into_inner().message().await };
    match tokio::time::timeout(Duration::from_millis(50), answer).await {
        Err(_) => spelt(Code::Cancelled),
        Ok(early) => ended(early),
    }
}

/// Asks a server that may answer UNAVAILABLE.
async fn retry(address: &str) -> Result<String, Status> {
    let client = GrpcInferenceServiceClient::new(connect(address)?);
    let ask = || {
        let mut client = client.clone();
        async move { client.server_live(ServerLiveRequest {}).await }
    };
    let (_, attempts) = retried(ask).await?;
    Ok(format!("OK after {attempts} attempts"))
}

fn ended<T>(call: Result<T, Status>) -> String {
    spelt(call.map_or_else(|status| status.code(), |_| Code::Ok))
}

async fn tour(address: &str, model: &str) -> Result<(), Status> {
    println!("watch: {}", watch(address, model).await?);
    let mut client = GrpcInferenceServiceClient::new(connect(address)?)
        .max_decoding_message_size(LARGEST_ANSWER);
    let request = zeros(&mut client, model).await?;
    println!("tensor: {}", tensor(&mut client, request.clone()).await?);
    println!("deadline: {}", deadline(&mut client, request).await);
    println!("cancel: {}", cancelled(&mut client).await);
    let flaky = std::env::var("RETRY_ADDRESS").unwrap_or(address.into());
    println!("retry: {}", retry(&flaky).await?);
    println!("keepalive: {} s", KEEPALIVE.as_secs());
    Ok(())
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, model] = words.as_slice() else {
        eprintln!("usage: tour ADDRESS MODEL");
        std::process::exit(2)
    };
    if let Err(status) = tour(address, model).await {
        fail(&status)
    }
}
