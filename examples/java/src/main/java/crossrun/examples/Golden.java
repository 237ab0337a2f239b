package crossrun.examples;

import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.Internal;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Reads and writes every message of a folder as proto/golden/README.md says. Usage: golden DIR */
public final class Golden {
  /** Where the protos' java_package puts the classes of a package. */
  private static final Map<String, String> PACKAGES =
      Map.of(
          "inference", "crossrun.oip",
          "crossrun.v1", "crossrun.v1",
          "grpc.health.v1", "io.grpc.health.v1");

  /** Returns an empty message of the type that its file is named after: MESSAGE.CASE.bin. */
  private static Message messageOf(Path file) throws ClassNotFoundException {
    List<String> words = List.of(file.getFileName().toString().split("\\."));
    String name = words.get(words.size() - 3);
    String javaPackage = PACKAGES.get(String.join(".", words.subList(0, words.size() - 3)));
    return Internal.getDefaultInstance(
        Class.forName(javaPackage + "." + name).asSubclass(Message.class));
  }

  private static byte[] written(Message message) throws IOException {
    var bytes = new ByteArrayOutputStream();
    var output = CodedOutputStream.newInstance(bytes);
    output.useDeterministicSerialization();
    message.writeTo(output);
    output.flush();
    return bytes.toByteArray();
  }

  private static Message fromJson(Path file, Message empty) throws IOException {
    var builder = empty.newBuilderForType();
    JsonFormat.parser().merge(Files.readString(file), builder);
    return builder.build();
  }

  /** Compares what is written of the bytes and of the JSON with the bytes. */
  private static void check(Path file) throws IOException, ClassNotFoundException {
    byte[] expected = Files.readAllBytes(file);
    Message empty = messageOf(file);
    Path json = file.resolveSibling(file.getFileName().toString().replaceFirst("bin$", "json"));
    same(written(empty.getParserForType().parseFrom(expected)), expected, file);
    same(written(fromJson(json, empty)), expected, json);
  }

  private static void same(byte[] written, byte[] expected, Path file) throws IOException {
    if (!Arrays.equals(written, expected)) {
      throw new IOException("%s: is written differently".formatted(file));
    }
  }

  public static void main(String[] words) throws IOException, ClassNotFoundException {
    if (words.length != 1) {
      System.err.println("usage: golden DIR");
      System.exit(2);
    }
    int alike = 0;
    try (var files = Files.newDirectoryStream(Path.of(words[0]), "*.bin")) {
      for (Path file : files) {
        check(file);
        alike++;
      }
    } catch (IOException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    }
    System.out.println(alike + " messages alike");
  }
}
