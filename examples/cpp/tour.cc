// Shows what else a client does, one line for each step.
// Usage: tour ADDRESS MODEL; RETRY_ADDRESS is a server that may be unavailable for a moment.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

#include "connect.h"
#include "crossrun/oip/grpc_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

using grpc::health::v1::HealthCheckResponse;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
using Inference = inference::GRPCInferenceService::Stub;

// Bytes of one element by datatype.
const std::map<std::string, int64_t> kSizes = {
    {"BOOL", 1}, {"INT8", 1}, {"INT16", 2}, {"INT32", 4}, {"INT64", 8}, {"UINT8", 1},
    {"UINT16", 2}, {"UINT32", 4}, {"UINT64", 8}, {"FP16", 2}, {"BF16", 2}, {"FP32", 4}, {"FP64", 8}};

// Reads the first of the states that the server streams whenever a model's changes.
std::string Watch(const std::shared_ptr<grpc::Channel>& channel, const std::string& model) {
  auto health = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(model);
  auto states = health->Watch(&context, request);
  HealthCheckResponse state;
  if (!states->Read(&state)) client::Check(states->Finish());
  context.TryCancel();  // ends the stream
  states->Finish();
  return HealthCheckResponse::ServingStatus_Name(state.status());
}

// Makes a request of a model's own inputs, all 0, one row each.
ModelInferRequest Zeros(Inference& stub, const std::string& model) {
  grpc::ClientContext context;
  inference::ModelMetadataRequest question;
  question.set_name(model);
  inference::ModelMetadataResponse described;
  client::Check(stub.ModelMetadata(&context, question, &described));

  ModelInferRequest request;
  request.set_model_name(model);
  for (const auto& input : described.inputs()) {
    auto& tensor = *request.add_inputs();
    tensor.set_name(input.name());
    tensor.set_datatype(input.datatype());
    int64_t size = kSizes.at(input.datatype());
    for (int64_t length : input.shape()) {
      tensor.add_shape(std::max<int64_t>(length, 1));  // -1 is any length
      size *= tensor.shape().Get(tensor.shape_size() - 1);
    }
    request.add_raw_input_contents(std::string(size, '\0'));
  }
  return request;
}

// Whether each number of a raw FP32 tensor is one.
bool Finite(const std::string& raw) {
  std::vector<float> values(raw.size() / sizeof(float));
  std::memcpy(values.data(), raw.data(), values.size() * sizeof(float));
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

// Sends a raw tensor and reads the first that comes back.
std::string Tensor(Inference& stub, const ModelInferRequest& request) {
  grpc::ClientContext context;
  ModelInferResponse answer;
  client::Check(stub.ModelInfer(&context, request, &answer));
  const auto& output = answer.outputs(0);
  if (output.datatype() == "FP32" && !Finite(answer.raw_output_contents(0)))
    throw std::runtime_error("the output has values that are not finite");

  std::string shown;
  for (char letter : output.datatype()) shown += std::tolower(letter);
  for (int i = 0; i < output.shape_size(); ++i)
    shown += (i == 0 ? " [" : ", ") + std::to_string(output.shape(i));
  return shown + "]";
}

// Asks for an answer by a time that is over. A deadline of now may still be met: gRPC counts in
// milliseconds.
std::string Deadline(Inference& stub, const ModelInferRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() - std::chrono::seconds(1));
  ModelInferResponse answer;
  return client::Code(stub.ModelInfer(&context, request, &answer));
}

// Gives up a call that is under way.
std::string Cancel(Inference& stub) {
  grpc::ClientContext context;
  auto stream = stub.ModelStreamInfer(&context);
  context.TryCancel();
  return client::Code(stream->Finish());
}

// Asks a server that may answer UNAVAILABLE; the channel's service config tries again.
std::string Retry(const std::string& address) {
  auto stub = inference::GRPCInferenceService::NewStub(client::Connect(address));
  grpc::ClientContext context;
  inference::ServerLiveResponse answer;
  return client::Code(stub->ServerLive(&context, {}, &answer));
}

void Tour(const std::string& address, const std::string& model) {
  auto channel = client::Connect(address);
  std::cout << "watch: " << Watch(channel, model) << std::endl;
  auto stub = inference::GRPCInferenceService::NewStub(channel);
  const ModelInferRequest request = Zeros(*stub, model);
  std::cout << "tensor: " << Tensor(*stub, request) << std::endl;
  std::cout << "deadline: " << Deadline(*stub, request) << std::endl;
  std::cout << "cancel: " << Cancel(*stub) << std::endl;
  const char* flaky = std::getenv("RETRY_ADDRESS");
  std::cout << "retry: " << Retry(flaky ? flaky : address) << std::endl;
  std::cout << "keepalive: " << client::kKeepalive.count() << " s" << std::endl;
}

int main(int count, char* words[]) {
  if (count != 3) {
    std::cerr << "usage: tour ADDRESS MODEL\n";
    return 2;
  }
  try {
    Tour(words[1], words[2]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
