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

// Opens a channel: with TLS if CROSSRUN_ROOTS names the PEM file of an authority, and with a
// token in every call if CROSSRUN_TOKEN is set. Throws std::runtime_error for a token without TLS,
// where anybody could read it.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

// The status of an ended call as the protocol spells it, such as NOT_FOUND.
std::string Code(const grpc::Status& status);

// Throws what a failed call says, in one line.
void Check(const grpc::Status& status);

}  // namespace client
