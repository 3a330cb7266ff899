/** What the gRPC library itself answers, in our words: what was wrong with the call, and what to send. */

const MANY = 'the call has more than one message: send one';
const NONE = 'the call ended without a message: send one, which may be empty';

/** What its texts begin with. */
const WORDS: readonly (readonly [beginning: string, say: (text: string) => string])[] = [
  ['Received a second request message', () => MANY],
  ['Received no request message', () => NONE],
  [
    'Failed to decompress message',
    () =>
      'a message cannot be inflated: it is damaged, or is not what `grpc-encoding` says: send it as that, or as it is',
  ],
  [
    'Received message that decompresses to a size larger than ',
    (text) =>
      `a message inflates to more than ${text.split(' ').at(-1) ?? ''} bytes: send a smaller one, see \`grpc.max_message_bytes\``,
  ],
  ['Deadline exceeded', () => 'the deadline of the call has passed: ask again, with more time'],
  [
    'The server does not implement the method ',
    (text) =>
      `there is no method \`${text.split(' ').at(-1) ?? ''}\` here: look at the services that are enabled`,
  ],
];

/** @returns the text itself where it is none of the library's */
export function ownWords(text: string): string {
  for (const [beginning, say] of WORDS) if (text.startsWith(beginning)) return say(text);
  return text;
}
