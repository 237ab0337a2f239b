//! Sends a picture and prints what it shows, best first.
//! Usage: classify ADDRESS PHOTO [MODEL]

use crossrun_client::v1::vision_client::VisionClient;
use crossrun_client::v1::{Class, ClassifyRequest};
use crossrun_client::{connect, fail, unusable};
use tonic::Status;

async fn classify(address: &str, photo: &str, model: &str) -> Result<Vec<Class>, Status> {
    let picture = std::fs::read(photo).map_err(|e| unusable(format!("{photo}: {e}")))?;
    let request = ClassifyRequest {
        model: model.into(),
        images: vec![picture],
        top_k: 5,
        ..Default::default()
    };
    let answer = VisionClient::new(connect(address)?)
        .classify(request)
        .await?;
    Ok(answer.into_inner().results.remove(0).classes)
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (address, photo, model) = match words.as_slice() {
        [address, photo] => (address, photo, ""), // the server's only model
        [address, photo, model] => (address, photo, model.as_str()),
        _ => {
            eprintln!("usage: classify ADDRESS PHOTO [MODEL]");
            std::process::exit(2)
        }
    };
    match classify(address, photo, model).await {
        Err(status) => fail(&status),
        Ok(classes) => classes
            .iter()
            .for_each(|best| println!("{:.4} {}", best.score, best.label)),
    }
}
