/** Password and TLS files of a Redis, as the settings under `redis` name them. */
import { readNamedFile } from '../../util/named-file.ts';

/** PEM texts, as far as they are given. */
export interface TlsFiles {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly serverName?: string | undefined;
}

/** The settings that name the files. */
export interface CredentialSettings {
  readonly password_file?: string | undefined;
  readonly tls: {
    readonly ca?: string | undefined;
    readonly cert?: string | undefined;
    readonly key?: string | undefined;
    readonly server_name?: string | undefined;
  };
}

/** @returns `undefined`: no file is named @throws Error where the file cannot be read */
export function readPassword({ password_file: file }: CredentialSettings): string | undefined {
  return readText('redis.password_file', file)?.trim();
}

/** @throws Error where a file cannot be read */
export function readTlsFiles({ tls }: CredentialSettings): TlsFiles {
  return {
    ca: readText('redis.tls.ca', tls.ca),
    cert: readText('redis.tls.cert', tls.cert),
    key: readText('redis.tls.key', tls.key),
    serverName: tls.server_name,
  };
}

/**
 * What opens a Redis that is the store's or another one.
 * @param url of another one, which the store's password does not open; `undefined`: the store's
 * @throws Error where a file cannot be read
 */
export function readAccess(
  url: string | undefined,
  store: string,
  settings: CredentialSettings,
): { readonly url: string; readonly password: string | undefined; readonly tls: TlsFiles } {
  return {
    url: url ?? store,
    password: url === undefined ? readPassword(settings) : undefined,
    tls: readTlsFiles(settings),
  };
}

function readText(option: string, file: string | undefined): string | undefined {
  return file === undefined ? undefined : readNamedFile(option, file).toString();
}
