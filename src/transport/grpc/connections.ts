/** The connections of the gRPC listener: ours to hold back until calls can be answered, and to cut in the end. */
import { createServer, type Server, type Socket } from 'node:net';
import { bind, type BindOptions } from '../bind.ts';

export interface Connections {
  /** As bound, the port that was chosen for `:0` included. */
  readonly address: string;
  /** Hands over the connections that wait and all that come. */
  serve(take: (socket: Socket) => void): void;
  /** Takes no new connections. @returns when none is left of those that there are */
  refuse(): Promise<void>;
  /** Cuts all that are left. */
  cut(): void;
}

/** Connections that wait for the server to have started; more are closed. */
const MAX_HELD = 1_024;

/**
 * Listens at once; what connects waits until it is served.
 * @throws BindError
 */
export async function openConnections(options: BindOptions): Promise<Connections> {
  const sockets = new Set<Socket>();
  let take: ((socket: Socket) => void) | undefined;
  const held: Socket[] = [];
  const connected = (socket: Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // One that goes away while it waits is no problem of this process.
    if (take === undefined) socket.on('error', ignore);
    if (take !== undefined) take(socket);
    else if (held.length < MAX_HELD) held.push(socket);
    else socket.destroy();
  };
  const open = (): Server => createServer({ noDelay: true }, connected);
  const { servers, address } = await bind(open, options);
  return {
    address,
    serve(taking): void {
      take = taking;
      for (const socket of held.splice(0)) {
        socket.off('error', ignore);
        if (!socket.destroyed) taking(socket);
      }
    },
    async refuse(): Promise<void> {
      for (const socket of held.splice(0)) socket.destroy();
      await Promise.all(
        servers.map((server) => new Promise<void>((done) => server.close(() => done()))),
      );
    },
    cut(): void {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function ignore(): void {
  // Its `close` follows.
}
