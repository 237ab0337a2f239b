using System.Runtime.InteropServices;
using Crossrun.Oip;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Health.V1;
using Client = Crossrun.Oip.GRPCInferenceService.GRPCInferenceServiceClient;

namespace Crossrun.Examples;

/// <summary>
/// Shows what else a client does, one line for each step. RETRY_ADDRESS is a server that may be
/// unavailable for a moment.
/// </summary>
internal static class Tour
{
    /// <summary>Bytes of one element by datatype.</summary>
    private static readonly Dictionary<string, int> Sizes = new()
    {
        ["BOOL"] = 1, ["INT8"] = 1, ["INT16"] = 2, ["INT32"] = 4, ["INT64"] = 8,
        ["UINT8"] = 1, ["UINT16"] = 2, ["UINT32"] = 4, ["UINT64"] = 8,
        ["FP16"] = 2, ["BF16"] = 2, ["FP32"] = 4, ["FP64"] = 8,
    };

    public static async Task RunAsync(string address, string model)
    {
        using var channel = Connection.To(address);
        Console.WriteLine($"watch: {await WatchAsync(channel, model)}");
        var client = new Client(channel);
        var request = await ZerosAsync(client, model);
        Console.WriteLine($"tensor: {await TensorAsync(client, request)}");
        Console.WriteLine($"deadline: {await DeadlineAsync(client, request)}");
        Console.WriteLine($"cancel: {await CancelAsync(client, request)}");
        var flaky = Environment.GetEnvironmentVariable("RETRY_ADDRESS") ?? address;
        Console.WriteLine($"retry: {await RetryAsync(flaky)}");
        Console.WriteLine($"keepalive: {Connection.Keepalive.TotalSeconds:F0} s");
    }

    /// <summary>Reads the first of the states that the server streams whenever a model's changes.</summary>
    private static async Task<string> WatchAsync(ChannelBase channel, string model)
    {
        // Disposing of the call ends the stream.
        using var states = new Health.HealthClient(channel).Watch(new HealthCheckRequest { Service = model });
        if (!await states.ResponseStream.MoveNext())
        {
            throw new InvalidOperationException("the server ended the stream without a state");
        }
        return Connection.Spelt(states.ResponseStream.Current.Status);
    }

    /// <summary>Makes a request of a model's own inputs, all 0, one row each.</summary>
    private static async Task<ModelInferRequest> ZerosAsync(Client client, string model)
    {
        var described = await client.ModelMetadataAsync(new ModelMetadataRequest { Name = model });
        var request = new ModelInferRequest { ModelName = model };
        foreach (var input in described.Inputs)
        {
            var shape = input.Shape.Select(length => Math.Max(length, 1)).ToArray(); // -1 is any length
            request.Inputs.Add(new ModelInferRequest.Types.InferInputTensor
            {
                Name = input.Name,
                Datatype = input.Datatype,
                Shape = { shape },
            });
            var size = shape.Aggregate((long)Sizes[input.Datatype], (bytes, length) => checked(bytes * length));
            request.RawInputContents.Add(ByteString.CopyFrom(new byte[size]));
        }
        return request;
    }

    /// <summary>Sends a raw tensor and reads the first that comes back.</summary>
    private static async Task<string> TensorAsync(Client client, ModelInferRequest request)
    {
        var answer = await client.ModelInferAsync(request);
        var output = answer.Outputs[0];
        if (output.Datatype == "FP32" && !AreFinite(answer.RawOutputContents[0]))
        {
            throw new InvalidOperationException("the output has values that are not finite");
        }
        return $"{output.Datatype.ToLowerInvariant()} [{string.Join(", ", output.Shape)}]";
    }

    /// <summary>Tells whether each number of a raw FP32 tensor is one.</summary>
    private static bool AreFinite(ByteString raw)
    {
        foreach (var value in MemoryMarshal.Cast<byte, float>(raw.Span))
        {
            if (!float.IsFinite(value))
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>Asks for an answer by a time that is over.</summary>
    private static Task<string> DeadlineAsync(Client client, ModelInferRequest request) =>
        EndAsync(client.ModelInferAsync(request, deadline: DateTime.UtcNow.AddSeconds(-1)));

    /// <summary>Gives up a call that is under way.</summary>
    private static Task<string> CancelAsync(Client client, ModelInferRequest request)
    {
        using var gaveUp = new CancellationTokenSource();
        var call = client.ModelInferAsync(request, cancellationToken: gaveUp.Token);
        gaveUp.Cancel();
        return EndAsync(call);
    }

    /// <summary>Asks a server that may answer UNAVAILABLE; the channel's service config tries again.</summary>
    private static async Task<string> RetryAsync(string address)
    {
        using var channel = Connection.To(address);
        return await EndAsync(new Client(channel).ServerLiveAsync(new ServerLiveRequest()));
    }

    /// <summary>Returns the status that a call ends with.</summary>
    private static async Task<string> EndAsync<T>(AsyncUnaryCall<T> call)
    {
        try
        {
            await call;
            return Connection.Spelt(StatusCode.OK);
        }
        catch (RpcException error)
        {
            return Connection.Spelt(error.StatusCode);
        }
    }
}
