/** What keeps garbage collection of calls cheap: two habits of the engine and of HTTP/2 that would make it dear. */
import { subscribe } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';

/**
 * One call that is over. The engine forgets the shape of objects of which a full collection finds none alive, and
 * with it all compiled code that knows the shape: after a pause, calls would cost up to five times as much until
 * the whole HTTP/2 stack is compiled again.
 */
const keptForItsShape: { call: unknown } = { call: undefined };
/** Largest message that is kept with it, bytes. */
const KEPT_BYTES = 4_096;

/** Keeps a call if its message is small. */
export function keepShape(call: { readonly request: Buffer }): void {
  if (call.request.length <= KEPT_BYTES) keptForItsShape.call = call;
}

/**
 * An HTTP/2 session keeps its streams in a Map. Each table that the Map has outgrown points to the next one, so that
 * once one of them is old, all that follow, and every stream in them, outlive the young generation's collections,
 * and through its listeners each stream keeps its whole call: a seventh of the time was spent copying dead calls. A
 * stream that is destroyed emits no more, and lets go of its call.
 */
const closing: (EventEmitter & { readonly destroyed: boolean })[] = [];

subscribe('http2.server.stream.close', (message) => {
  // What the channel is documented to send.
  const { stream } = message as { readonly stream: (typeof closing)[number] };
  if (closing.push(stream) === 1) setImmediate(letGo);
});

function letGo(): void {
  for (const stream of closing)
    if (stream.destroyed) {
      // Without the first, each that goes would be told of; a Readable's own would look for a reader in another tick.
      EventEmitter.prototype.removeAllListeners.call(stream, 'removeListener');
      EventEmitter.prototype.removeAllListeners.call(stream);
    }
  closing.length = 0;
}
