// Google's SDK for Node.

import { ApiError, GoogleGenAI } from "@google/genai";
import { CALLS, KEY, MODEL, ORIGIN, SCHEMA, answer, ask, errorOf } from "./arguments.mjs";

const client = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: ORIGIN } });
const config = {
  tools: [{ functionDeclarations: [{ name: "get_weather", parametersJsonSchema: SCHEMA }] }],
};
const partsOf = (response) => response.candidates[0].content?.parts ?? [];
const textOf = (parts) => parts.map((part) => (part.thought ? "" : (part.text ?? ""))).join("");

const unary = await client.models.generateContent({ model: MODEL, contents: ask("tokens=12") });

let streamed = "";
let usage = null;
const stream = await client.models.generateContentStream({
  model: MODEL,
  contents: ask("tokens=30"),
});
for await (const chunk of stream) {
  streamed += textOf(partsOf(chunk));
  usage = chunk.usageMetadata ?? usage;
}

const contents = [{ role: "user", parts: [{ text: ask(CALLS) }] }];
const parts = [];
let finish = null;
for await (const chunk of await client.models.generateContentStream({
  model: MODEL,
  contents,
  config,
})) {
  parts.push(...partsOf(chunk));
  finish = chunk.candidates[0].finishReason ?? finish;
}
const calls = parts.flatMap((part) => part.functionCall ?? []);
contents.push(
  { role: "model", parts },
  {
    role: "user",
    parts: calls.map((call) => ({
      functionResponse: { id: call.id, name: call.name, response: { degrees: 21 } },
    })),
  },
);
const second = await client.models.generateContent({ model: MODEL, contents, config });

const error = await errorOf(() =>
  client.models.generateContent({ model: "nobodys", contents: "Hello" }),
);
answer({
  unary: unary.text,
  unaryOutputTokens: unary.usageMetadata.candidatesTokenCount,
  streamed,
  streamedOutputTokens: usage.candidatesTokenCount,
  calls: calls.map((call) => [call.name, call.args]),
  finish,
  afterCalls: textOf(partsOf(second)),
  error: [error instanceof ApiError, error.status, JSON.parse(error.message).error.status],
  errorRequestId: null,
});
