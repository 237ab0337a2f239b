// Reads and writes every message of a folder as proto/golden/README.md says.
// Usage: golden DIR
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

namespace fs = std::filesystem;
namespace pb = google::protobuf;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("can't be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

// Makes an empty message of the type that its file is named after: MESSAGE.CASE.bin.
std::unique_ptr<pb::Message> MessageOf(const fs::path& file) {
  const std::string name = file.stem().stem();
  const auto* type = pb::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  if (type == nullptr) throw std::runtime_error("no such message");
  return std::unique_ptr<pb::Message>(pb::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

std::string Written(const pb::Message& message) {
  std::string bytes;
  {
    pb::io::StringOutputStream stream(&bytes);
    pb::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&output);
  }  // flushes
  return bytes;
}

// Compares what is written of the bytes and of the JSON with the bytes.
void Check(const fs::path& file) {
  const std::string expected = Read(file);
  auto message = MessageOf(file);
  if (!message->ParseFromString(expected)) throw std::runtime_error("can't be parsed");
  if (Written(*message) != expected) throw std::runtime_error("is written differently");

  message->Clear();
  const auto status = pb::util::JsonStringToMessage(Read(fs::path(file).replace_extension("json")), message.get());
  if (!status.ok()) throw std::runtime_error("its JSON: " + status.ToString());
  if (Written(*message) != expected) throw std::runtime_error("its JSON is written differently");
}

int main(int count, char* words[]) {
  if (count != 2) {
    std::cerr << "usage: golden DIR\n";
    return 2;
  }
  int alike = 0;
  for (const auto& entry : fs::directory_iterator(words[1])) {
    if (entry.path().extension() != ".bin") continue;
    try {
      Check(entry.path());
      ++alike;
    } catch (const std::exception& error) {
      std::cerr << entry.path().string() << ": " << error.what() << '\n';
      return 1;
    }
  }
  std::cout << alike << " messages alike\n";
}
