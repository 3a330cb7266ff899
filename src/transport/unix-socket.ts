/** Unix sockets: those that an earlier process left behind, and who may connect. */
import { chmodSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';

/**
 * Makes way for a listener on `unix:PATH`: a socket that nobody serves is removed.
 * @throws Error where somebody does, or where the path is no socket
 */
export async function clearStaleSocket(address: string): Promise<void> {
  if (!address.startsWith('unix:')) return;
  const path = address.slice(5);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Error(`\`${path}\` exists and is not a socket: choose another path`);
  const served = await new Promise<boolean>((done) => {
    const probe = connect(path, () => {
      probe.destroy();
      done(true);
    });
    probe.on('error', () => done(false));
  });
  if (served)
    throw new Error(`\`${path}\` is served by another process: stop it, or choose another path`);
  rmSync(path, { force: true });
}

/**
 * Gives the socket of a listener on `unix:PATH` its permissions. Until then the umask's hold.
 * @param mode octal, such as `0660`; `undefined` leaves the umask's
 */
export function setSocketMode(address: string, mode: string | undefined): void {
  if (address.startsWith('unix:') && mode !== undefined) chmodSync(address.slice(5), mode);
}
