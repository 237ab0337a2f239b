package crossrun.examples;

import com.google.protobuf.ByteString;
import crossrun.oip.GRPCInferenceServiceGrpc;
import crossrun.oip.GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingV2Stub;
import crossrun.oip.ModelInferRequest;
import crossrun.oip.ModelInferRequest.InferInputTensor;
import crossrun.oip.ModelMetadataRequest;
import crossrun.oip.ServerLiveRequest;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/**
 * Shows what else a client does, one line for each step. Usage: tour ADDRESS MODEL; RETRY_ADDRESS
 * is a server that may be unavailable for a moment.
 */
public final class Tour {
  /** Bytes of one element by datatype. */
  private static final Map<String, Integer> SIZES =
      Map.ofEntries(
          Map.entry("BOOL", 1), Map.entry("INT8", 1), Map.entry("INT16", 2), Map.entry("INT32", 4),
          Map.entry("INT64", 8), Map.entry("UINT8", 1), Map.entry("UINT16", 2),
          Map.entry("UINT32", 4), Map.entry("UINT64", 8), Map.entry("FP16", 2),
          Map.entry("BF16", 2), Map.entry("FP32", 4), Map.entry("FP64", 8));

  /** Reads the first of the states that the server streams whenever a model's changes. */
  private static String watch(Channel channel, String model)
      throws StatusException, InterruptedException {
    var request = HealthCheckRequest.newBuilder().setService(model).build();
    var states = HealthGrpc.newBlockingV2Stub(channel).watch(request);
    var state = states.read();
    states.cancel("has seen enough", null);
    return state.getStatus().name();
  }

  /** Makes a request of a model's own inputs, all 0, one row each. */
  private static ModelInferRequest zeros(GRPCInferenceServiceBlockingV2Stub stub, String model)
      throws StatusException {
    var question = ModelMetadataRequest.newBuilder().setName(model).build();
    var request = ModelInferRequest.newBuilder().setModelName(model);
    for (var input : stub.modelMetadata(question).getInputsList()) {
      var tensor = InferInputTensor.newBuilder().setName(input.getName()).setDatatype(input.getDatatype());
      int size = SIZES.get(input.getDatatype());
      for (long length : input.getShapeList()) {
        long known = Math.max(length, 1); // -1 is any length
        tensor.addShape(known);
        size = Math.multiplyExact(size, Math.toIntExact(known));
      }
      request.addInputs(tensor).addRawInputContents(ByteString.copyFrom(new byte[size]));
    }
    return request.build();
  }

  /** Sends a raw tensor and reads the first that comes back. */
  private static String tensor(GRPCInferenceServiceBlockingV2Stub stub, ModelInferRequest request)
      throws StatusException {
    var answer = stub.modelInfer(request);
    var output = answer.getOutputs(0);
    if (output.getDatatype().equals("FP32") && !finite(answer.getRawOutputContents(0))) {
      throw new IllegalStateException("the output has values that are not finite");
    }
    return output.getDatatype().toLowerCase() + " " + output.getShapeList();
  }

  /** Tells whether each number of a raw FP32 tensor is one. */
  private static boolean finite(ByteString raw) {
    var values = raw.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
    while (values.hasRemaining()) {
      if (!Float.isFinite(values.get())) {
        return false;
      }
    }
    return true;
  }

  /** Gives the server less time than it can do with. */
  private static String deadline(
      GRPCInferenceServiceBlockingV2Stub stub, ModelInferRequest request) throws Exception {
    return ended(() -> stub.withDeadlineAfter(1, TimeUnit.MICROSECONDS).modelInfer(request));
  }

  /** Gives up a call that is under way. */
  private static String cancel(GRPCInferenceServiceBlockingV2Stub stub) throws Exception {
    var stream = stub.modelStreamInfer();
    stream.cancel("given up", null);
    return ended(stream::read);
  }

  /** Asks a server that may answer UNAVAILABLE; the channel's service config tries again. */
  private static String retry(String address) throws Exception {
    var channel = Channels.to(address);
    try {
      var stub = GRPCInferenceServiceGrpc.newBlockingV2Stub(channel);
      return ended(() -> stub.serverLive(ServerLiveRequest.getDefaultInstance()));
    } finally {
      channel.shutdownNow();
    }
  }

  /** Returns the status that a call ends with. */
  private static String ended(Callable<?> call) throws Exception {
    try {
      call.call();
      return Status.Code.OK.name();
    } catch (StatusException error) {
      return error.getStatus().getCode().name();
    }
  }

  private static void tour(String address, String model) throws Exception {
    var channel = Channels.to(address);
    try {
      System.out.println("watch: " + watch(channel, model));
      var stub = GRPCInferenceServiceGrpc.newBlockingV2Stub(channel);
      var request = zeros(stub, model);
      System.out.println("tensor: " + tensor(stub, request));
      System.out.println("deadline: " + deadline(stub, request));
      System.out.println("cancel: " + cancel(stub));
      var flaky = System.getenv().getOrDefault("RETRY_ADDRESS", address);
      System.out.println("retry: " + retry(flaky));
      System.out.println("keepalive: " + Channels.KEEPALIVE.toSeconds() + " s");
    } finally {
      channel.shutdownNow();
    }
  }

  public static void main(String[] words) {
    if (words.length != 2) {
      System.err.println("usage: tour ADDRESS MODEL");
      System.exit(2);
    }
    try {
      tour(words[0], words[1]);
    } catch (Exception error) {
      Channels.fail(error);
    }
  }
}
