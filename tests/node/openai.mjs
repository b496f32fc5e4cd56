// OpenAI's SDK for Node.

import OpenAI from "openai";
import { CALLS, KEY, MODEL, ORIGIN, SCHEMA, answer, ask, errorOf } from "./arguments.mjs";

const client = new OpenAI({ baseURL: `${ORIGIN}/v1`, apiKey: KEY, maxRetries: 0 });
const tools = [
  { type: "function", function: { name: "get_weather", parameters: SCHEMA, strict: true } },
];
const messages = (directives) => [{ role: "user", content: ask(directives) }];

const unary = await client.chat.completions.create({
  model: MODEL,
  messages: messages("tokens=12"),
});

let streamed = "";
let usage = null;
const stream = await client.chat.completions.create({
  model: MODEL,
  messages: messages("tokens=30"),
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}

const conversation = messages(CALLS);
const first = await client.chat.completions
  .stream({ model: MODEL, messages: conversation, tools })
  .finalChatCompletion();
const calls = first.choices[0].message.tool_calls;
conversation.push(
  first.choices[0].message,
  ...calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "21 degrees" })),
);
const second = await client.chat.completions.create({
  model: MODEL,
  messages: conversation,
  tools,
});

const error = await errorOf(() =>
  client.chat.completions.create({ model: "nobodys", messages: messages("") }),
);
answer({
  unary: unary.choices[0].message.content,
  unaryOutputTokens: unary.usage.completion_tokens,
  streamed,
  streamedOutputTokens: usage.completion_tokens,
  calls: calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
  finish: first.choices[0].finish_reason,
  afterCalls: second.choices[0].message.content,
  error: [error instanceof OpenAI.NotFoundError, error.status, error.code],
  errorRequestId: error.requestID,
});
