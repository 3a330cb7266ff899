/** Addresses of settings and options: `host:port` or `unix:/path`. */

/** Largest length of a unix socket's path, bytes: the limit of the operating system. */
const MAX_SOCKET_PATH = 107;

/** The problem of an address; `undefined`: it is valid. @param example an address of the kind */
export function addressProblem(text: string, example: string): string | undefined {
  if (text === '') return `is empty: write host:port, such as ${example}, or unix:/path`;
  if (text.startsWith('unix:')) return socketProblem(text.slice('unix:'.length));
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(text)?.[0];
  if (scheme !== undefined)
    return `begins with ${scheme}: write host:port, such as ${example}, or unix:/path`;
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || port === undefined)
    return /^[A-Za-z0-9._-]+$/.test(text)
      ? `has no port: write ${text}:${example.slice(example.lastIndexOf(':') + 1)}`
      : `is not host:port or unix:/path: write for example ${example}, or [::1]:${example.slice(example.lastIndexOf(':') + 1)}`;
  return Number(port) > 65_535 ? `has port ${port}: ports go to 65535` : undefined;
}

function socketProblem(path: string): string | undefined {
  if (path === '') return 'has no path: write unix:/path';
  if (path.includes('\0')) return 'holds a null character: remove it';
  const bytes = Buffer.byteLength(path);
  return bytes > MAX_SOCKET_PATH
    ? `has a path of ${bytes} bytes: a unix socket takes at most ${MAX_SOCKET_PATH}, use a shorter one`
    : undefined;
}
