/** Binds a listener, and says in words what keeps it from that. */
import { lookup } from 'node:dns/promises';
import { existsSync } from 'node:fs';
import { isIP, type Server } from 'node:net';
import { dirname } from 'node:path';
import { clearStaleSocket, setSocketMode } from './unix-socket.ts';

export interface BindOptions {
  /** `host:port`, or `unix:/path`. */
  readonly address: string;
  /** Permissions of a unix socket, octal; `undefined`: what the umask leaves. */
  readonly socketMode: string | undefined;
  /** Another process serves the same address, and clears what an earlier one left behind. */
  readonly shared?: boolean;
  /** The setting that names the address, for messages: `grpc.address`. */
  readonly setting: string;
  /** The environment variable that overrides it. */
  readonly variable: string;
  /** A connection could not be taken, such as for want of file descriptors: the listener goes on. */
  readonly onError: (error: unknown) => void;
}

/** A listener cannot be bound. Its message names the setting, the address and the remedy. */
class BindError extends Error {}

/** Bytes of a path that a unix socket can have: `sun_path` less its end. */
const LONGEST_SOCKET_PATH = process.platform === 'linux' ? 107 : 103;

/**
 * Binds servers to an address: one for each address that a host name has.
 * @param open makes a server that does not listen yet
 * @returns the servers that listen, and the address as it is bound, the port that was chosen for `:0` included
 * @throws BindError
 */
export async function bind<S extends Server>(
  open: () => S,
  options: BindOptions,
): Promise<{ readonly servers: readonly S[]; readonly address: string }> {
  const { address, socketMode, shared = false } = options;
  try {
    if (address.startsWith('unix:')) {
      const path = address.slice(5);
      const bytes = Buffer.byteLength(path);
      if (bytes > LONGEST_SOCKET_PATH)
        throw new BindError(
          `the path has ${bytes} bytes, and a unix socket can have ${LONGEST_SOCKET_PATH}: choose a shorter one`,
        );
      if (!shared) await clearStaleSocket(address);
      const server = open();
      await listening(server, { path }, options.onError);
      setSocketMode(address, socketMode);
      return { servers: [server], address };
    }
    return await bindHost(open, options);
  } catch (error) {
    // Without a cause: what it says is said, and whoever tells this one would tell it again.
    throw new BindError(
      `${options.setting}: cannot listen on \`${address}\`: ${whyNot(error, options)}`,
    );
  }
}

async function bindHost<S extends Server>(
  open: () => S,
  { address, onError }: BindOptions,
): Promise<{ readonly servers: readonly S[]; readonly address: string }> {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  let port = Number(address.slice(colon + 1));
  if (port > 65_535) throw new BindError(`\`${port}\` is not a port: choose one up to 65535`);
  const hosts =
    isIP(host) === 0 ? (await lookup(host, { all: true })).map((found) => found.address) : [host];
  const servers: S[] = [];
  let missing: unknown;
  try {
    for (const one of new Set(hosts)) {
      const server = open();
      try {
        await listening(server, { host: one, port }, onError);
      } catch (error) {
        // Such as `::1` of `localhost` where IPv6 is off.
        if (!['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(codeOf(error))) throw error;
        missing = error;
        continue;
      }
      servers.push(server);
      const bound = server.address();
      if (typeof bound === 'object' && bound !== null) port = bound.port;
    }
  } catch (error) {
    for (const server of servers) server.close();
    throw error;
  }
  if (servers.length === 0) throw missing;
  return { servers, address: `${address.slice(0, colon)}:${port}` };
}

function listening(
  server: Server,
  where: object,
  onError: (error: unknown) => void,
): Promise<void> {
  return new Promise((done, failed) => {
    server.once('error', failed);
    server.listen(where, () => {
      server.off('error', failed);
      server.on('error', onError);
      done();
    });
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function whyNot(error: unknown, { address, setting, variable }: BindOptions): string {
  const other = `give another one by \`${setting}\` or ${variable}`;
  const directory = `\`${dirname(address.slice(5))}\``;
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return `another process listens there: stop it, or ${other}`;
    case 'EACCES':
    case 'EPERM':
      // What is missing is told as forbidden of a socket's path.
      if (address.startsWith('unix:') && !existsSync(dirname(address.slice(5))))
        return `the directory ${directory} does not exist: create it, or ${other}`;
      return address.startsWith('unix:')
        ? `this user may not create a socket in ${directory}: change its permissions, or ${other}`
        : `this user may not listen on that port: use one of 1024 or more, or ${other}`;
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return `this machine has no such address: ${other}`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host name has no address: ${other}`;
    case 'ENOENT':
      return `the directory ${directory} does not exist: create it, or ${other}`;
    case 'ENOTDIR':
      return `${directory} is not a directory: ${other}`;
    case 'EROFS':
      return `${directory} is read-only: ${other}`;
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
