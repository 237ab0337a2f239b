// The server's REST. An error has the server's own words.

const KEY = "crossrun-token";

export class Refused extends Error {
  constructor(text, status) {
    super(text);
    this.status = status; // 0: the server does not answer
  }
}

export const hasToken = () => Boolean(sessionStorage.getItem(KEY));
export const useToken = (token) => sessionStorage.setItem(KEY, token);

export const get = (path) => ask(path, { method: "GET" });
export const post = (path, body, signal) => ask(path, { method: "POST", body, signal });

async function ask(path, options) {
  const headers = {};
  if (options.body) headers["content-type"] = "application/octet-stream";
  const token = sessionStorage.getItem(KEY);
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await reach(path, { ...options, headers });
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({}));
  throw new Refused(told.error ?? `${response.status} ${response.statusText}`, response.status);
}

async function reach(path, options) {
  try {
    return await fetch(path, { ...options, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer.", 0);
  }
}
