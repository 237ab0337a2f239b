using Crossrun.Oip;
using Crossrun.V1;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Health.V1;

namespace Crossrun.Examples;

/// <summary>Reads and writes every message of a folder as proto/golden/README.md says.</summary>
internal static class Golden
{
    private static readonly Dictionary<string, MessageDescriptor> Messages =
        new[] { GrpcServiceReflection.Descriptor, VisionReflection.Descriptor,
                ProvidersReflection.Descriptor, HealthReflection.Descriptor }
            .SelectMany(file => file.MessageTypes)
            .ToDictionary(message => message.FullName);

    public static void Run(string folder)
    {
        var files = Directory.GetFiles(folder, "*.bin");
        foreach (var file in files)
        {
            Check(file);
        }
        Console.WriteLine($"{files.Length} messages alike");
    }

    /// <summary>Compares what is written of the bytes and of the JSON with the bytes.</summary>
    private static void Check(string file)
    {
        var expected = File.ReadAllBytes(file);
        var message = DescriptorOf(file);
        Same(message.Parser.ParseFrom(expected), expected, file);
        var json = Path.ChangeExtension(file, ".json");
        Same(JsonParser.Default.Parse(File.ReadAllText(json), message), expected, json);
    }

    /// <summary>The type that a file is named after, MESSAGE.CASE.bin.</summary>
    private static MessageDescriptor DescriptorOf(string file)
    {
        var name = Path.GetFileNameWithoutExtension(Path.GetFileNameWithoutExtension(file));
        return Messages.TryGetValue(name, out var found)
            ? found
            : throw new InvalidOperationException($"{file}: no such message");
    }

    private static void Same(IMessage message, byte[] expected, string file)
    {
        if (!message.ToByteArray().AsSpan().SequenceEqual(expected))
        {
            throw new InvalidOperationException($"{file}: is written differently");
        }
    }
}
