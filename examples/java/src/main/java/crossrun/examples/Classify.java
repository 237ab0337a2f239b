package crossrun.examples;

import com.google.protobuf.ByteString;
import crossrun.v1.ClassifyRequest;
import crossrun.v1.ClassifyResponse;
import crossrun.v1.VisionGrpc;
import io.grpc.StatusException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** Sends a picture and prints what it shows, best first. Usage: classify ADDRESS PHOTO [MODEL] */
public final class Classify {
  private static ClassifyResponse classify(String address, Path photo, String model)
      throws IOException, StatusException {
    var request =
        ClassifyRequest.newBuilder()
            .setModel(model)
            .addImages(ByteString.copyFrom(Files.readAllBytes(photo)))
            .setTopK(5)
            .build();
    var channel = Channels.to(address);
    try {
      return VisionGrpc.newBlockingV2Stub(channel)
          .withDeadlineAfter(1, TimeUnit.MINUTES)
          .classify(request);
    } finally {
      channel.shutdownNow();
    }
  }

  public static void main(String[] words) {
    if (words.length < 2) {
      System.err.println("usage: classify ADDRESS PHOTO [MODEL]");
      System.exit(2);
    }
    String model = words.length > 2 ? words[2] : ""; // the server's only one
    try {
      for (var best : classify(words[0], Path.of(words[1]), model).getResults(0).getClassesList()) {
        System.out.printf("%.4f %s%n", best.getScore(), best.getLabel());
      }
    } catch (IOException | StatusException error) {
      Channels.fail(error);
    }
  }
}
