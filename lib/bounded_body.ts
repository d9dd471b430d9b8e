/**
 * Reads the body of an answer or a request as text, at most `maxBytes` of it, so that nobody can fill the memory.
 * @throws {RangeError} when the body is longer
 */
export async function readBounded(message: Pick<Body, "body">, maxBytes: number): Promise<string> {
  if (message.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of message.body) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the body.
    if (bytes > maxBytes) throw new RangeError(`The answer is longer than ${maxBytes} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
