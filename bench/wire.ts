/**
 * gRPC calls as bare HTTP/2 frames on a socket. A call costs this client a few microseconds, a tenth of what a full
 * client costs, so that with a core each it is the server that is busy, not the generator.
 */
import { connect, type Socket } from 'node:net';

const FRAME = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
} as const;
/** The setting that says how much a new stream may be sent, and what it is where nobody says. */
const INITIAL_WINDOW_SIZE = 4;
const FIRST_WINDOW = 65_535;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
const HEAD_BYTES = 9;
/** Before each message of gRPC: whether it is compressed, and its length. */
export const MESSAGE_HEAD_BYTES = 5;
/** All that a connection may ever receive, granted at once. */
const WINDOW = 0x7fffffff - FIRST_WINDOW;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Unary calls. It keeps to small messages: it never waits for the peer's flow-control window. */
export interface WireConnection {
  /** Sends one message; `onAnswer` of the connection is called when its call has ended. */
  call(message: Buffer): void;
}

/** @param onFailure what went wrong: a call without an answer, a reset, a closed connection */
export function openWire(
  address: string,
  path: string,
  onAnswer: (stream: number) => void,
  onFailure: (message: string) => void,
): Promise<WireConnection> {
  const block = headerBlock(address, path);
  let stream = -1;
  const answered = new Set<number>();
  const socket = dial(address, onFailure, (type, flags, id, payload) => {
    if (type === FRAME.DATA && payload.length > MESSAGE_HEAD_BYTES) answered.add(id);
    if (type === FRAME.HEADERS && (flags & END_STREAM) !== 0) {
      if (!answered.delete(id)) onFailure('a call ended without an answer');
      else onAnswer(id);
    }
  });
  const call = (message: Buffer): void => {
    stream += 2;
    socket.write(
      Buffer.concat([
        frame(FRAME.HEADERS, END_HEADERS, stream, block),
        frame(FRAME.DATA, END_STREAM, stream, message),
      ]),
    );
  };
  return new Promise((opened) =>
    socket.once('connect', () => {
      socket.write(greeting(FIRST_WINDOW));
      opened({ call });
    }),
  );
}

/** One call with many messages both ways. */
export interface WireStream {
  /** Sends as many of the messages as the peer has room for, in one write. @returns how many */
  send(messages: readonly Buffer[]): number;
  close(): void;
}

/**
 * @param onMessage told each message, with its head of five bytes
 * @param onFailure what went wrong: an end that was not asked for
 */
export function openWireStream(
  address: string,
  path: string,
  onMessage: (message: Buffer) => void,
  onFailure: (message: string) => void,
): Promise<WireStream> {
  const stream = 1;
  let closing = false;
  const failed = (message: string): void => {
    if (!closing) onFailure(message);
  };
  // What may be sent on the connection, and on its only stream.
  const room = { connection: FIRST_WINDOW, stream: FIRST_WINDOW };
  let initial = FIRST_WINDOW;
  const messages = splitting(
    MESSAGE_HEAD_BYTES,
    (head, at) => head.readUInt32BE(at + 1),
    onMessage,
  );
  const socket = dial(address, failed, (type, flags, id, payload) => {
    if (type === FRAME.DATA) messages(payload);
    else if (type === FRAME.HEADERS && (flags & END_STREAM) !== 0) failed('the call was ended');
    else if (type === FRAME.WINDOW_UPDATE)
      room[id === 0 ? 'connection' : 'stream'] += payload.readUInt32BE(0);
    else if (type === FRAME.SETTINGS)
      for (let at = 0; at + 6 <= payload.length; at += 6)
        if (payload.readUInt16BE(at) === INITIAL_WINDOW_SIZE) {
          const size = payload.readUInt32BE(at + 2);
          room.stream += size - initial;
          initial = size;
        }
  });
  return new Promise((opened) =>
    socket.once('connect', () => {
      const block = headerBlock(address, path);
      const call = frame(FRAME.HEADERS, END_HEADERS, stream, block);
      socket.write(Buffer.concat([greeting(WINDOW), call]));
      opened({
        send(messages): number {
          const frames: Buffer[] = [];
          for (const message of messages) {
            if (message.length > Math.min(room.connection, room.stream)) break;
            room.connection -= message.length;
            room.stream -= message.length;
            frames.push(frame(FRAME.DATA, 0, stream, message));
          }
          if (frames.length > 0) socket.write(Buffer.concat(frames));
          return frames.length;
        },
        close(): void {
          closing = true;
          socket.end(frame(FRAME.DATA, END_STREAM, stream, Buffer.alloc(0)));
        },
      });
    }),
  );
}

/** Connects, answers what every connection must, and tells of each frame. */
function dial(
  address: string,
  onFailure: (message: string) => void,
  onFrame: (type: number, flags: number, stream: number, payload: Buffer) => void,
): Socket {
  const [host = '', port = ''] = address.split(':');
  const socket = connect({ host, port: Number(port), noDelay: true });
  socket.on('error', (error) => onFailure(error.message));
  socket.on('close', () => onFailure('the connection was closed'));
  const frames = splitting(
    HEAD_BYTES,
    (bytes, at) => bytes.readUIntBE(at, 3),
    (bytes) => {
      const [type = 0, flags = 0] = [bytes[3], bytes[4]];
      const payload = bytes.subarray(HEAD_BYTES);
      onFrame(type, flags, bytes.readUInt32BE(5) & 0x7fffffff, payload);
      if (type === FRAME.SETTINGS && (flags & ACK) === 0)
        socket.write(frame(FRAME.SETTINGS, ACK, 0, Buffer.alloc(0)));
      else if (type === FRAME.PING && (flags & ACK) === 0)
        socket.write(frame(FRAME.PING, ACK, 0, payload));
      else if (type === FRAME.RST_STREAM || type === FRAME.GOAWAY) onFailure('the server gave up');
    },
  );
  socket.on('data', frames);
  return socket;
}

/** The client's first bytes. @param window what each stream may receive */
function greeting(window: number): Buffer {
  const size = Buffer.alloc(6);
  size.writeUInt16BE(INITIAL_WINDOW_SIZE);
  size.writeUInt32BE(window, 2);
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(WINDOW);
  return Buffer.concat([
    PREFACE,
    frame(FRAME.SETTINGS, 0, 0, size),
    frame(FRAME.WINDOW_UPDATE, 0, 0, increment),
  ]);
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, HEAD_BYTES);
  return bytes;
}

/** HPACK literals without indexing: the same bytes for every call. */
function headerBlock(address: string, path: string): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  };
  const literal = (name: string, value: string): Buffer =>
    Buffer.concat([Buffer.from([0]), text(name), text(value)]);
  return Buffer.concat([
    literal(':method', 'POST'),
    literal(':scheme', 'http'),
    literal(':path', path),
    literal(':authority', address),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
  ]);
}

/** Puts pieces together again: each has a head, which tells how long the rest is. */
function splitting(
  headBytes: number,
  lengthAt: (bytes: Buffer, at: number) => number,
  onPiece: (piece: Buffer) => void,
): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    const all = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    let at = 0;
    while (all.length - at >= headBytes) {
      const end = at + headBytes + lengthAt(all, at);
      if (end > all.length) break;
      onPiece(all.subarray(at, end));
      at = end;
    }
    rest = all.subarray(at);
  };
}
