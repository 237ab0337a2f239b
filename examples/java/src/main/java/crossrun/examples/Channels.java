package crossrun.examples;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Opens channels to a server as a client in production should. */
final class Channels {
  /**
   * How long a connection may be silent before it is tested. The server counts pings that come in
   * less than five minutes as an attack, so no client may ask more often.
   */
  static final Duration KEEPALIVE = Duration.ofSeconds(300);

  /** Answers of raw tensors are soon larger than the 4 MB that a client takes by default. */
  private static final int LARGEST_ANSWER = 64 << 20;

  /** What may be tried again, and when: a server that stops or is not there yet says UNAVAILABLE. */
  private static final Map<String, ?> SERVICE_CONFIG =
      Map.of(
          "methodConfig",
          List.of(
              Map.of(
                  "name",
                  List.of(
                      Map.of("service", "inference.GRPCInferenceService"),
                      Map.of("service", "crossrun.v1.Vision")),
                  "retryPolicy",
                  Map.of(
                      "maxAttempts", 5.0,
                      "initialBackoff", "0.1s",
                      "maxBackoff", "1s",
                      "backoffMultiplier", 2.0,
                      "retryableStatusCodes", List.of("UNAVAILABLE")))));

  private Channels() {}

  /**
   * Opens a channel: with TLS if CROSSRUN_ROOTS names the PEM file of an authority; then
   * CROSSRUN_TOKEN goes with every call.
   */
  static ManagedChannel to(String address) throws IOException {
    var builder =
        Grpc.newChannelBuilder(address, credentials())
            .defaultServiceConfig(SERVICE_CONFIG)
            .maxInboundMessageSize(LARGEST_ANSWER)
            .keepAliveTime(KEEPALIVE.toSeconds(), TimeUnit.SECONDS);
    String token = System.getenv("CROSSRUN_TOKEN");
    // Without TLS anybody could read the token.
    if (token != null && System.getenv("CROSSRUN_ROOTS") != null) {
      builder.intercept(bearer(token));
    }
    return builder.build();
  }

  private static ChannelCredentials credentials() throws IOException {
    String roots = System.getenv("CROSSRUN_ROOTS");
    return roots == null
        ? InsecureChannelCredentials.create()
        : TlsChannelCredentials.newBuilder().trustManager(new File(roots)).build();
  }

  private static ClientInterceptor bearer(String token) {
    Metadata metadata = new Metadata();
    metadata.put(
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    return MetadataUtils.newAttachHeadersInterceptor(metadata);
  }

  /** Prints a failed call in one line, such as "NOT_FOUND: why", and ends the program. */
  static void fail(StatusException error) {
    var status = error.getStatus();
    System.err.println(status.getCode() + ": " + status.getDescription());
    System.exit(1);
  }
}
