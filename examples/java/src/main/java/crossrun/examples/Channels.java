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

  private static final String ROOTS = System.getenv("CROSSRUN_ROOTS");
  private static final String TOKEN = System.getenv("CROSSRUN_TOKEN");

  private Channels() {}

  /**
   * Opens a channel: with TLS if CROSSRUN_ROOTS names the PEM file of an authority, and with a
   * token in every call if CROSSRUN_TOKEN is set.
   *
   * @throws IOException the file can't be read, or there is a token and no TLS
   */
  static ManagedChannel to(String address) throws IOException {
    var builder =
        Grpc.newChannelBuilder(address, credentials())
            .defaultServiceConfig(SERVICE_CONFIG)
            .maxInboundMessageSize(LARGEST_ANSWER)
            .keepAliveTime(KEEPALIVE.toSeconds(), TimeUnit.SECONDS);
    if (TOKEN != null) {
      builder.intercept(bearer());
    }
    return builder.build();
  }

  private static ChannelCredentials credentials() throws IOException {
    if (TOKEN != null && ROOTS == null) { // anybody could read it
      throw new IOException("CROSSRUN_TOKEN needs TLS: set CROSSRUN_ROOTS, too");
    }
    return ROOTS == null
        ? InsecureChannelCredentials.create()
        : TlsChannelCredentials.newBuilder().trustManager(new File(ROOTS)).build();
  }

  private static ClientInterceptor bearer() {
    Metadata metadata = new Metadata();
    metadata.put(
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + TOKEN);
    return MetadataUtils.newAttachHeadersInterceptor(metadata);
  }

  /** Prints what failed in one line, a call as "NOT_FOUND: why", and ends the program. */
  static void fail(Exception error) {
    System.err.println(
        error instanceof StatusException failed
            ? failed.getStatus().getCode() + ": " + failed.getStatus().getDescription()
            : error);
    System.exit(1);
  }
}
