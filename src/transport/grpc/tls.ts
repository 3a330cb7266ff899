/** TLS of the gRPC listener: certificates are taken up anew when their files change, bad ones are not. */
import { experimental, type ServerCredentials } from '@grpc/grpc-js';

export interface TlsFiles {
  /** PEM: the certificate chain, and its key. */
  readonly cert: string;
  readonly key: string;
  /** PEM: callers must show a certificate of one of these authorities; `undefined`: none is asked for. */
  readonly clientCa: string | undefined;
  /** How often the files are looked at, ms. */
  readonly reloadMs: number;
}

/** Credentials that follow their files. */
export function reloading({ cert, key, clientCa, reloadMs }: TlsFiles): ServerCredentials {
  const watcher = (files: object): experimental.CertificateProvider =>
    new experimental.FileWatcherCertificateProvider({ ...files, refreshIntervalMs: reloadMs });
  const identity = watcher({ certificateFile: cert, privateKeyFile: key });
  const authorities = clientCa === undefined ? null : watcher({ caCertificateFile: clientCa });
  // Identity comes first, whatever its declaration names its parameters.
  return experimental.createCertificateProviderServerCredentials(
    identity,
    authorities,
    authorities !== null,
  );
}
