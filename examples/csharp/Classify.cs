using System.Globalization;
using Crossrun.V1;
using Google.Protobuf;

namespace Crossrun.Examples;

/// <summary>Sends a picture and prints what it shows, best first.</summary>
internal static class Classify
{
    public static async Task RunAsync(string address, string photo, string model)
    {
        var picture = ByteString.CopyFrom(await File.ReadAllBytesAsync(photo));
        var request = new ClassifyRequest { Model = model, Images = { picture }, TopK = 5 };

        using var channel = Connection.To(address);
        var answer = await new Vision.VisionClient(channel)
            .ClassifyAsync(request, deadline: DateTime.UtcNow.AddMinutes(1));
        foreach (var best in answer.Results[0].Classes)
        {
            Console.WriteLine($"{best.Score.ToString("F4", CultureInfo.InvariantCulture)} {best.Label}");
        }
    }
}
