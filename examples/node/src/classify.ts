// Sends a picture and prints what it shows, best first.
// Usage: classify ADDRESS PHOTO [MODEL]
import { readFile } from 'node:fs/promises';
import type { ClassifyResponse__Output } from '../generated/crossrun/v1/ClassifyResponse.js';
import { answer, connect, fail } from './connect.js';

async function classify(address: string, photo: string, model?: string): Promise<void> {
  const request = { model, images: [await readFile(photo)], topK: 5 };
  const { vision, close } = connect(address);
  try {
    const deadline = Date.now() + 60_000;
    const { results } = await answer<ClassifyResponse__Output>(done =>
      vision.classify(request, { deadline }, done));
    for (const { score, label } of results[0]!.classes) console.log(score.toFixed(4), label);
  } finally {
    close();
  }
}

const [address, photo, model] = process.argv.slice(2);
if (address && photo) {
  classify(address, photo, model).catch(fail);
} else {
  console.error('usage: classify ADDRESS PHOTO [MODEL]');
  process.exitCode = 2;
}
