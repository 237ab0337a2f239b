// Shows what else a client does, one line for each step.
// Usage: tour ADDRESS MODEL; RETRY_ADDRESS is a server that may be unavailable for a moment.
import { type ServiceError } from '@grpc/grpc-js';
import type { ModelInferRequest } from '../generated/inference/ModelInferRequest.js';
import type { ModelInferResponse__Output } from '../generated/inference/ModelInferResponse.js';
import type { ModelMetadataResponse__Output } from '../generated/inference/ModelMetadataResponse.js';
import { answer, code, connect, fail, KEEPALIVE_MS } from './connect.js';

type Clients = ReturnType<typeof connect>;

/** Bytes of one element by datatype. */
const SIZES: Record<string, number> = {
  BOOL: 1, INT8: 1, INT16: 2, INT32: 4, INT64: 8, UINT8: 1, UINT16: 2, UINT32: 4, UINT64: 8,
  FP16: 2, BF16: 2, FP32: 4, FP64: 8,
};

/** Reads the first of the states that the server streams whenever a model's changes. */
async function watch({ health }: Clients, model: string): Promise<string> {
  const states = health.watch({ service: model });
  states.on('error', () => {}); // the end of a cancelled stream is an error, CANCELLED
  try {
    for await (const { status } of states) return status;
    throw new Error('the server ended the stream without a state');
  } finally {
    states.cancel();
  }
}

/** A request of a model's own inputs, all 0, one row each. */
async function zeros({ inference }: Clients, model: string): Promise<ModelInferRequest> {
  const { inputs } = await answer<ModelMetadataResponse__Output>(done =>
    inference.modelMetadata({ name: model }, done));
  const shaped = inputs.map(({ name, datatype, shape }) => ({
    name, datatype, shape: shape.map(length => Math.max(Number(length), 1)), // -1 is any length
  }));
  const bytes = shaped.map(({ datatype, shape }) =>
    shape.reduce((size, length) => size * length, SIZES[datatype]!));
  return { modelName: model, inputs: shaped, rawInputContents: bytes.map(size => Buffer.alloc(size)) };
}

/** Sends a raw tensor and reads the first that comes back. */
async function tensor({ inference }: Clients, request: ModelInferRequest): Promise<string> {
  const { outputs, rawOutputContents } = await answer<ModelInferResponse__Output>(done =>
    inference.modelInfer(request, done));
  const { datatype, shape } = outputs[0]!;
  if (datatype === 'FP32' && !floats(rawOutputContents[0]!).every(Number.isFinite)) {
    throw new Error('the output has values that are not finite');
  }
  return `${datatype.toLowerCase()} [${shape.join(', ')}]`;
}

/** The numbers of a raw FP32 tensor. A copy: a Float32Array begins at a multiple of four bytes. */
function floats(raw: Buffer): Float32Array {
  return new Float32Array(new Uint8Array(raw).buffer);
}

/** Asks for an answer by a time that is over. */
function deadline({ inference }: Clients, request: ModelInferRequest): Promise<string> {
  return ended(done => inference.modelInfer(request, { deadline: Date.now() - 1000 }, done));
}

/** Gives up a call that is under way. */
function cancel({ inference }: Clients, request: ModelInferRequest): Promise<string> {
  return ended(done => inference.modelInfer(request, done).cancel());
}

/** Asks a server that may answer UNAVAILABLE; the channel's service config tries again. */
async function retry(address: string): Promise<string> {
  const { inference, close } = connect(address);
  try {
    return await ended(done => inference.serverLive({}, done));
  } finally {
    close();
  }
}

/** The status that a call ends with. */
function ended<T>(call: Parameters<typeof answer<T>>[0]): Promise<string> {
  return answer(call).then(() => 'OK', (error: ServiceError) => code(error));
}

async function tour(address: string, model: string): Promise<void> {
  const clients = connect(address);
  try {
    console.log('watch:', await watch(clients, model));
    const request = await zeros(clients, model);
    console.log('tensor:', await tensor(clients, request));
    console.log('deadline:', await deadline(clients, request));
    console.log('cancel:', await cancel(clients, request));
    console.log('retry:', await retry(process.env.RETRY_ADDRESS ?? address));
    console.log('keepalive:', KEEPALIVE_MS / 1000, 's');
  } finally {
    clients.close();
  }
}

const [address, model] = process.argv.slice(2);
if (address && model) {
  tour(address, model).catch(fail);
} else {
  console.error('usage: tour ADDRESS MODEL');
  process.exitCode = 2;
}
