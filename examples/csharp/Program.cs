using Crossrun.Examples;
using Grpc.Core;

try
{
    switch (args)
    {
        case ["classify", var address, var photo]:
            await Classify.RunAsync(address, photo, model: ""); // the server's only one
            return 0;
        case ["classify", var address, var photo, var model]:
            await Classify.RunAsync(address, photo, model);
            return 0;
        case ["tour", var address, var model]:
            await Tour.RunAsync(address, model);
            return 0;
        case ["golden", var folder]:
            Golden.Run(folder);
            return 0;
        default:
            Console.Error.WriteLine("usage: classify ADDRESS PHOTO [MODEL] | tour ADDRESS MODEL | golden DIR");
            return 2;
    }
}
catch (RpcException error)
{
    Console.Error.WriteLine($"{Connection.Spelt(error.StatusCode)}: {error.Status.Detail}");
    return 1;
}
catch (Exception error) when (error is IOException or InvalidOperationException)
{
    Console.Error.WriteLine(error.Message);
    return 1;
}
