// The lines that ask the same without this page.

import { hasToken } from "./api.js";
import { path } from "./pane.js";
import { findsObjects } from "./models.js";

const TOKEN = "authorization: Bearer ";

export const programs = { curl, python, grpcurl };

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const address = (model) => location.origin + path(model).replaceAll("'", "%27");

function curl(model, file) {
  const token = hasToken() ? ` -H "${TOKEN}$TOKEN"` : "";
  return `curl${token} -H 'content-type: application/octet-stream' \\
  --data-binary @${quoted(file)} ${quoted(address(model))}`;
}

function python(model, file) {
  const token = hasToken();
  const headers = token ? `, {"authorization": f"Bearer {os.environ['TOKEN']}"}` : "";
  return `import json, ${token ? "os, " : ""}pathlib, urllib.request

picture = pathlib.Path(${JSON.stringify(file)}).read_bytes()
request = urllib.request.Request(${JSON.stringify(address(model))}, picture${headers})
with urllib.request.urlopen(request) as answer:
    print(json.load(answer)["results"][0])`;
}

function grpcurl(model, file, port) {
  const security = location.protocol === "https:" ? "" : " -plaintext";
  const token = hasToken() ? ` -H "${TOKEN}$TOKEN"` : "";
  const method = findsObjects(model) ? "Detect" : "Classify";
  const start = `{"model": ${JSON.stringify(model.name)}, "images": ["`;
  return `printf %s ${quoted(start)} "$(base64 < ${quoted(file)} | tr -d '\\n')" '"]}' |
  grpcurl${security}${token} -d @ ${location.hostname}:${port} crossrun.v1.Vision/${method}`;
}
