// Opens channels to a server as a client in production should.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

namespace client {

// How long a connection may be silent before it is tested. The server counts pings that come in
// less than five minutes as an attack, so no client may ask more often.
constexpr std::chrono::seconds kKeepalive{300};

// Opens a channel: with TLS if CROSSRUN_ROOTS names the PEM file of an authority; then
// CROSSRUN_TOKEN goes with every call.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

// The status of an ended call as the protocol spells it, such as NOT_FOUND.
std::string Code(const grpc::Status& status);

// Throws what a failed call says, in one line.
void Check(const grpc::Status& status);

}  // namespace client
