#include "connect.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace client {
namespace {

// Answers of raw tensors are soon larger than the 4 MB that a client takes by default.
constexpr int kLargestAnswer = 64 << 20;

// What may be tried again, and when: a server that stops or is not there yet says UNAVAILABLE.
constexpr char kServiceConfig[] = R"({"methodConfig": [{
  "name": [{"service": "inference.GRPCInferenceService"}, {"service": "crossrun.v1.Vision"}],
  "retryPolicy": {
    "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]})";

constexpr const char* kCodes[] = {
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": can't be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::shared_ptr<grpc::ChannelCredentials> Credentials() {
  const char* roots = std::getenv("CROSSRUN_ROOTS");
  const char* token = std::getenv("CROSSRUN_TOKEN");
  if (token != nullptr && roots == nullptr)
    throw std::runtime_error("CROSSRUN_TOKEN needs TLS: set CROSSRUN_ROOTS, too");
  if (roots == nullptr) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = Read(roots);
  auto tls = grpc::SslCredentials(options);
  if (token == nullptr) return tls;
  // Sent as "authorization: Bearer TOKEN".
  return grpc::CompositeChannelCredentials(tls, grpc::AccessTokenCredentials(token));
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments options;
  options.SetServiceConfigJSON(kServiceConfig);
  options.SetMaxReceiveMessageSize(kLargestAnswer);
  options.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, std::chrono::milliseconds(kKeepalive).count());
  options.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  return grpc::CreateCustomChannel(address, Credentials(), options);
}

std::string Code(const grpc::Status& status) { return kCodes[status.error_code()]; }

void Check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(Code(status) + ": " + status.error_message());
}

}  // namespace client
