// Reads and writes every message of a folder as proto/golden/README.md says.
// Usage: golden DIR
import * as loader from '@grpc/proto-loader';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FILES, LOADED } from './connect.js';

type Message = loader.MessageTypeDefinition<object, object>;

// Without the option `defaults` a message that is read has no more fields than were sent.
const MESSAGES = loader.loadSync(FILES, LOADED) as unknown as Record<string, Message>;

/** The type that a file is named after: MESSAGE.CASE. */
function typeOf(name: string): Message {
  const found = MESSAGES[name.slice(0, name.lastIndexOf('.'))];
  if (!found) throw new Error(`${name}: no such message`);
  return found;
}

/** Compares what is written of the bytes and of the JSON with the bytes. */
function check(folder: string, name: string): void {
  const { serialize, deserialize } = typeOf(name);
  const expected = readFileSync(join(folder, `${name}.bin`));
  const messages = {
    '.bin': deserialize(expected),
    '.json': JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')),
  };
  for (const [suffix, message] of Object.entries(messages)) {
    if (!serialize(message).equals(expected)) throw new Error(`${name}${suffix}: is written differently`);
  }
}

const [folder] = process.argv.slice(2);
if (!folder) {
  console.error('usage: golden DIR');
  process.exit(2);
}
const names = readdirSync(folder).filter(file => file.endsWith('.bin')).map(file => file.slice(0, -'.bin'.length));
try {
  names.forEach(name => check(folder, name));
  console.log(`${names.length} messages alike`);
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
}
