import assert from "node:assert/strict";
import test from "node:test";
import { parseEndpoint } from "./endpoint.ts";

test("an endpoint is the base of an API or its JSON-RPC address", () => {
  for (const [text, url] of [
    ["https://toncenter.com/api/v2", "https://toncenter.com/api/v2/jsonRPC"],
    ["https://toncenter.com/api/v2/", "https://toncenter.com/api/v2/jsonRPC"],
    ["https://toncenter.com/api/v2/jsonRPC", "https://toncenter.com/api/v2/jsonRPC"],
    ["http://127.0.0.1:8081", "http://127.0.0.1:8081/jsonRPC"],
    ["https://node.example/v2?key=k", "https://node.example/v2/jsonRPC?key=k"],
  ] as const) {
    assert.equal(parseEndpoint(text).url, url);
  }
});

test("a node on this machine is known as one", () => {
  for (const host of ["127.0.0.1:80", "localhost:81", "[::1]:82"]) {
    assert.equal(parseEndpoint(`http://${host}/api/v2`).isLocal, true, host);
  }
  for (const host of ["toncenter.com", "127.0.0.1.example", "192.168.1.2"]) {
    assert.equal(parseEndpoint(`https://${host}/api/v2`).isLocal, false, host);
  }
});

const REFUSED: readonly (readonly [what: string, text: string, apiKey?: string])[] = [
  ["no address", "toncenter"],
  ["nothing", ""],
  ["another protocol", "ftp://toncenter.com/api/v2"],
  ["a socket", "wss://toncenter.com/api/v2"],
  ["a password in it", "https://me:secret@toncenter.com/api/v2"],
  ["a fragment", "https://toncenter.com/api/v2#x"],
  ["a key in the clear", "http://toncenter.com/api/v2", "secret"],
  ["a key of two lines", "https://toncenter.com/api/v2", "secret\r\nx-evil: 1"],
  ["an empty key", "https://toncenter.com/api/v2", ""],
];

for (const [what, text, apiKey] of REFUSED) {
  test(`a setting is refused that has ${what}`, () => {
    assert.throws(
      () => parseEndpoint(text, apiKey),
      ({ code, message }: Error & { code?: string }) => {
        assert.equal(code, "bad_configuration");
        return !message.includes("secret");
      },
    );
  });
}
