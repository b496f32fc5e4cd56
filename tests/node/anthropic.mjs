// Anthropic's SDK for Node.

import Anthropic from "@anthropic-ai/sdk";
import { CALLS, KEY, MODEL, ORIGIN, SCHEMA, answer, ask, errorOf } from "./arguments.mjs";

const client = new Anthropic({ baseURL: ORIGIN, apiKey: KEY, maxRetries: 0 });
const tools = [{ name: "get_weather", input_schema: SCHEMA }];
const asked = (directives) => ({
  model: MODEL,
  max_tokens: 1000,
  messages: [{ role: "user", content: ask(directives) }],
});
const textOf = (message) =>
  message.content.map((block) => (block.type === "text" ? block.text : "")).join("");

const unary = await client.messages.create(asked("tokens=12"));

let streamed = "";
const stream = client.messages.stream(asked("tokens=30")).on("text", (text) => {
  streamed += text;
});
const final = await stream.finalMessage();

const conversation = { ...asked(CALLS), tools };
const first = await client.messages.stream(conversation).finalMessage();
const calls = first.content.filter((block) => block.type === "tool_use");
conversation.messages.push(
  { role: "assistant", content: first.content },
  {
    role: "user",
    content: calls.map((call) => ({
      type: "tool_result",
      tool_use_id: call.id,
      content: "21 degrees",
    })),
  },
);
const second = await client.messages.create(conversation);

const error = await errorOf(() => client.messages.create({ ...asked(""), model: "nobodys" }));
answer({
  unary: textOf(unary),
  unaryOutputTokens: unary.usage.output_tokens,
  streamed,
  streamedOutputTokens: final.usage.output_tokens,
  calls: calls.map((call) => [call.name, call.input]),
  finish: first.stop_reason,
  afterCalls: textOf(second),
  error: [error instanceof Anthropic.NotFoundError, error.status, error.error.error.type],
  errorRequestId: error.requestID,
});
