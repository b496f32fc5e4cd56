// What every script is told by the test that runs it, and how it answers: one line of JSON.

export const { ORIGIN, KEY, MODEL } = process.env;

export const ask = (directives) => `#sim ${directives}\nTell me more.`;
export const CALLS = "tools=get_weather,get_weather preamble=5";

export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
  additionalProperties: false,
};

export function answer(said) {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

// The error that a call ends with; that it ends well is a failure.
export async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("there was no error");
}
