// Opens channels to a server as a client in production should.
import * as grpc from '@grpc/grpc-js';
import * as loader from '@grpc/proto-loader';
import { protoPath as health } from 'grpc-health-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProtoGrpcType as Health } from '../generated/health.js';
import type { ProtoGrpcType as Inference } from '../generated/grpc_service.js';
import type { ProtoGrpcType as Vision } from '../generated/vision.js';

const { CROSSRUN_ROOTS, CROSSRUN_TOKEN } = process.env;

// includeDirs is where the imports in the protos begin: the folder that holds crossrun/.
const PROTO = join(import.meta.dirname, '../../../../proto');
export const FILES = [
  'crossrun/oip/grpc_service.proto', 'crossrun/v1/vision.proto', 'crossrun/v1/providers.proto', health,
];
export const LOADED = { includeDirs: [PROTO], longs: String, enums: String, oneofs: true };

// How long a connection may be silent before it is tested. The server counts pings that come in
// less than five minutes as an attack, so no client may ask more often.
export const KEEPALIVE_MS = 300_000;

// What may be tried again, and when: a server that stops or is not there yet says UNAVAILABLE.
const SERVICE_CONFIG = {
  methodConfig: [{
    name: [{ service: 'inference.GRPCInferenceService' }, { service: 'crossrun.v1.Vision' }],
    retryPolicy: {
      maxAttempts: 5, initialBackoff: '0.1s', maxBackoff: '1s', backoffMultiplier: 2,
      retryableStatusCodes: ['UNAVAILABLE'],
    },
  }],
};

const OPTIONS: grpc.ClientOptions = {
  'grpc.service_config': JSON.stringify(SERVICE_CONFIG),
  'grpc.keepalive_time_ms': KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': 20_000,
  // Answers of raw tensors are soon larger than the 4 MB that a client takes by default.
  'grpc.max_receive_message_length': 64 << 20,
};

/** TLS if CROSSRUN_ROOTS names the PEM file of an authority, and a token if CROSSRUN_TOKEN is set. */
function credentials(): grpc.ChannelCredentials {
  const { createInsecure, createSsl, combineChannelCredentials } = grpc.credentials;
  const transport = CROSSRUN_ROOTS ? createSsl(readFileSync(CROSSRUN_ROOTS)) : createInsecure();
  return CROSSRUN_TOKEN ? combineChannelCredentials(transport, bearer(CROSSRUN_TOKEN)) : transport;
}

/** Goes with every call. gRPC refuses it without TLS, where anybody could read it. */
function bearer(token: string): grpc.CallCredentials {
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return grpc.credentials.createFromMetadataGenerator((_, done) => done(null, metadata));
}

/** Clients of all services, which share a connection. */
export function connect(address: string) {
  const loaded = loader.loadSync(FILES, { ...LOADED, defaults: true });
  const { grpc: { health }, inference, crossrun } = grpc.loadPackageDefinition(loaded) as unknown as
    Health & Inference & Vision;
  const channel = new grpc.Channel(address, credentials(), OPTIONS);
  const shared: [string, grpc.ChannelCredentials, grpc.ClientOptions] =
    [address, credentials(), { channelOverride: channel }];
  return {
    health: new health.v1.Health(...shared),
    inference: new inference.GRPCInferenceService(...shared),
    vision: new crossrun.v1.Vision(...shared),
    close: () => channel.close(),
  };
}

/** A call with one answer, as a promise. */
export function answer<T>(call: (done: grpc.requestCallback<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value as T)));
  });
}

/** A failed call's status as the protocol spells it, such as NOT_FOUND. */
export const code = (error: grpc.ServiceError) => grpc.status[error.code];

/** Prints what failed in one line: a call with its status. */
export function fail(error: Error | grpc.ServiceError): void {
  console.error('details' in error ? `${code(error)}: ${error.details}` : String(error));
  process.exitCode = 1;
}
