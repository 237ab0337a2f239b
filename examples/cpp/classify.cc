// Sends a picture and prints what it shows, best first.
// Usage: classify ADDRESS PHOTO [MODEL]
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "connect.h"
#include "crossrun/v1/vision.grpc.pb.h"

namespace v1 = crossrun::v1;

v1::ClassifyResponse Classify(const char* address, const char* photo, const char* model) {
  std::ifstream file(photo, std::ios::binary);
  if (!file) throw std::runtime_error(std::string(photo) + ": can't be read");
  v1::ClassifyRequest request;
  request.set_model(model);
  request.add_images(std::string(std::istreambuf_iterator<char>(file), {}));
  request.set_top_k(5);

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  v1::ClassifyResponse answer;
  client::Check(v1::Vision::NewStub(client::Connect(address))->Classify(&context, request, &answer));
  return answer;
}

int main(int count, char* words[]) {
  if (count < 3) {
    std::fputs("usage: classify ADDRESS PHOTO [MODEL]\n", stderr);
    return 2;
  }
  try {
    const char* model = count > 3 ? words[3] : "";  // the server's only one
    const auto answer = Classify(words[1], words[2], model);
    for (const auto& best : answer.results(0).classes())
      std::printf("%.4f %s\n", best.score(), best.label().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
