//! Reads and writes every message of a folder as proto/golden/README.md says; the bytes alone,
//! since prost has no JSON.
//! Usage: golden DIR

use std::path::Path;

use crossrun_client::{inference::*, v1::*};
use prost::{DecodeError, Message};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

type Failure = std::boxed::Box<dyn std::error::Error>; // crossrun.v1 has a Box of its own
type Rewrite = fn(&[u8]) -> Result<Vec<u8>, DecodeError>;

fn rewrite<M: Message + Default>(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ok(M::decode(bytes)?.encode_to_vec())
}

/// Finds a message by its full name: prost keeps no list of those that it generates.
macro_rules! rewrites {
    ($name:expr, $($package:literal: $($message:ident)*;)*) => {
        match $name {
            $($(concat!($package, ".", stringify!($message)) => Some(rewrite::<$message> as Rewrite),)*)*
            _ => None,
        }
    };
}

fn rewrite_of(name: &str) -> Option<Rewrite> {
    rewrites!(name,
        "inference":
            ServerLiveRequest ServerLiveResponse ServerReadyRequest ServerReadyResponse
            ModelReadyRequest ModelReadyResponse ServerMetadataRequest ServerMetadataResponse
            ModelMetadataRequest ModelMetadataResponse ModelInferRequest ModelInferResponse
            ModelStreamInferResponse ModelConfigRequest ModelConfigResponse
            ModelStatisticsRequest ModelStatisticsResponse
            RepositoryIndexRequest RepositoryIndexResponse
            RepositoryModelLoadRequest RepositoryModelLoadResponse
            RepositoryModelUnloadRequest RepositoryModelUnloadResponse
            SystemSharedMemoryStatusRequest SystemSharedMemoryStatusResponse
            SystemSharedMemoryRegisterRequest SystemSharedMemoryRegisterResponse
            SystemSharedMemoryUnregisterRequest SystemSharedMemoryUnregisterResponse
            CudaSharedMemoryStatusRequest CudaSharedMemoryStatusResponse
            CudaSharedMemoryRegisterRequest CudaSharedMemoryRegisterResponse
            CudaSharedMemoryUnregisterRequest CudaSharedMemoryUnregisterResponse
            TraceSettingRequest TraceSettingResponse LogSettingsRequest LogSettingsResponse;
        "crossrun.v1":
            ClassifyRequest ClassifyResponse DetectRequest DetectResponse
            ListProvidersRequest ListProvidersResponse
            ListPlacementsRequest ListPlacementsResponse;
        "grpc.health.v1": HealthCheckRequest HealthCheckResponse;
    )
}

/// Compares what is written of a file with the file, MESSAGE.CASE.bin.
fn check(file: &Path) -> Result<(), Failure> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.rsplit_once('.').map_or("", |(name, _)| name);
    let rewrite = rewrite_of(name).ok_or(format!("no message {name:?}"))?;
    let bytes = std::fs::read(file)?;
    if rewrite(&bytes)? != bytes {
        return Err("it is written differently".into());
    }
    Ok(())
}

fn files(folder: &str) -> std::io::Result<Vec<std::path::PathBuf>> {
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
    let paths = entries?.into_iter().map(|entry| entry.path());
    Ok(paths
        .filter(|path| path.extension().is_some_and(|it| it == "bin"))
        .collect())
}

fn check_all(folder: &str) -> Result<usize, Failure> {
    let files = files(folder)?;
    for file in &files {
        check(file).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(files.len())
}

fn main() {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: golden DIR");
        std::process::exit(2)
    };
    match check_all(&folder) {
        Ok(count) => println!("{count} messages alike"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1)
        }
    }
}
