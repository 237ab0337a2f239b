using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;
using Grpc.Core;
using Grpc.Net.Client;
using Grpc.Net.Client.Configuration;

namespace Crossrun.Examples;

/// <summary>Opens channels to a server as a client in production should.</summary>
internal static class Connection
{
    /// <summary>
    /// How long a connection may be silent before it is tested. The server counts pings that come in
    /// less than five minutes as an attack, so no client may ask more often.
    /// </summary>
    public static readonly TimeSpan Keepalive = TimeSpan.FromSeconds(300);

    /// <summary>Answers of raw tensors are soon larger than the 4 MB that a client takes by default.</summary>
    private const int LargestAnswer = 64 << 20;

    private static readonly string? Roots = Environment.GetEnvironmentVariable("CROSSRUN_ROOTS");
    private static readonly string? Token = Environment.GetEnvironmentVariable("CROSSRUN_TOKEN");

    /// <summary>
    /// Opens a channel: with TLS if CROSSRUN_ROOTS names the PEM file of an authority, and with a
    /// token in every call if CROSSRUN_TOKEN is set.
    /// </summary>
    /// <exception cref="InvalidOperationException">There is a token and no TLS.</exception>
    public static GrpcChannel To(string address)
    {
        if (Token != null && Roots == null) // anybody could read it
        {
            throw new InvalidOperationException("CROSSRUN_TOKEN needs TLS: set CROSSRUN_ROOTS, too");
        }
        return GrpcChannel.ForAddress($"{(Roots == null ? "http" : "https")}://{address}", new GrpcChannelOptions
        {
            HttpHandler = Handler(),
            DisposeHttpClient = true,
            Credentials = Credentials(),
            MaxReceiveMessageSize = LargestAnswer,
            ServiceConfig = new ServiceConfig { MethodConfigs = { Retries() } },
        });
    }

    /// <summary>What may be tried again, and when: a server that stops or is not there yet says UNAVAILABLE.</summary>
    private static MethodConfig Retries() => new()
    {
        Names =
        {
            new MethodName { Service = "inference.GRPCInferenceService" },
            new MethodName { Service = "crossrun.v1.Vision" },
        },
        RetryPolicy = new RetryPolicy
        {
            MaxAttempts = 5,
            InitialBackoff = TimeSpan.FromSeconds(0.1),
            MaxBackoff = TimeSpan.FromSeconds(1),
            BackoffMultiplier = 2,
            RetryableStatusCodes = { StatusCode.Unavailable },
        },
    };

    private static SocketsHttpHandler Handler()
    {
        var handler = new SocketsHttpHandler
        {
            KeepAlivePingDelay = Keepalive,
            KeepAlivePingTimeout = TimeSpan.FromSeconds(20),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
        };
        if (Roots != null)
        {
            handler.SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = Trusting(Roots) };
        }
        return handler;
    }

    private static X509ChainPolicy Trusting(string file)
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck, // an authority of one's own has no list
        };
        policy.CustomTrustStore.ImportFromPemFile(file);
        return policy;
    }

    private static ChannelCredentials Credentials()
    {
        if (Roots == null)
        {
            return ChannelCredentials.Insecure;
        }
        if (Token == null)
        {
            return ChannelCredentials.SecureSsl;
        }
        var bearer = CallCredentials.FromInterceptor((_, metadata) =>
        {
            metadata.Add("authorization", $"Bearer {Token}");
            return Task.CompletedTask;
        });
        return ChannelCredentials.Create(ChannelCredentials.SecureSsl, bearer);
    }

    /// <summary>A value of an enumeration as the protocol spells it, such as NOT_FOUND for NotFound.</summary>
    public static string Spelt(Enum value) =>
        Regex.Replace(value.ToString(), "(?<=[a-z])(?=[A-Z])", "_").ToUpperInvariant();
}
