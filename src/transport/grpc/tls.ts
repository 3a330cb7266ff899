/** TLS of the gRPC listener: certificates are taken up anew when their files change, bad ones are not. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { experimental, type ServerCredentials } from '@grpc/grpc-js';

export interface TlsFiles {
  /** PEM: the certificate chain, and its key. */
  readonly cert: string;
  readonly key: string;
  /** PEM: callers must show a certificate of one of these authorities; `undefined`: none is asked for. */
  readonly clientCa: string | undefined;
  /** How often the files are looked at, ms; 0: once. */
  readonly reloadMs: number;
}

/** What the files say. */
interface Material {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | undefined;
}

/**
 * Credentials that follow their files. The library's own provider drops every connection while a file is bad.
 * @param onCertificate is told until when the certificate in force is valid, ms since the epoch
 * @param onError is told of files that cannot be used: the last good ones stay in force
 * @throws Error where they cannot be used at the start
 */
export function reloading(
  files: TlsFiles,
  onError: (error: unknown) => void,
  onCertificate: (until: number) => void,
): ServerCredentials {
  const { cert, key, clientCa, reloadMs } = files;
  let good = usable({
    cert: readNamed('cert', cert),
    key: readNamed('key', key),
    ca: clientCa === undefined ? undefined : readNamed('client_ca', clientCa),
  });
  const wrong = timeProblem(good);
  // There is no better one to serve with: callers that check it refuse it themselves.
  if (wrong !== undefined) onError(new Error(`grpc.tls.cert: \`${cert}\` ${wrong}: renew it`));
  onCertificate(endOf(good));
  const identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();
  const caListeners = new Set<experimental.CaCertificateUpdateListener>();
  const identity = (): experimental.IdentityCertificateUpdate => ({
    certificate: good.cert,
    privateKey: good.key,
  });
  const authorities = (): experimental.CaCertificateUpdate | null =>
    good.ca === undefined ? null : { caCertificate: good.ca };

  const look = async (): Promise<void> => {
    const [newCert, newKey, ca] = await Promise.all([
      readFile(cert),
      readFile(key),
      clientCa === undefined ? undefined : readFile(clientCa),
    ]);
    const found = { cert: newCert, key: newKey, ca };
    if (same(found, good)) return;
    const next = usable(found);
    const wrong = timeProblem(next);
    if (wrong !== undefined && timeProblem(good) === undefined)
      throw new Error(`grpc.tls.cert: \`${cert}\` ${wrong}: the certificate before it serves on`);
    good = next;
    onCertificate(endOf(good));
    for (const listener of identityListeners) listener(identity());
    for (const listener of caListeners) listener(authorities());
  };

  let timer: NodeJS.Timeout | undefined;
  const regulate = (): void => {
    const wanted = reloadMs > 0 && identityListeners.size + caListeners.size > 0;
    if (!wanted) {
      clearInterval(timer);
      timer = undefined;
    } else timer ??= setInterval(() => void look().catch(onError), reloadMs).unref();
  };
  const provider: experimental.CertificateProvider = {
    addIdentityCertificateListener(listener) {
      identityListeners.add(listener);
      regulate();
      // The listener takes part only once this call is over.
      process.nextTick(() => listener(identity()));
    },
    removeIdentityCertificateListener(listener) {
      identityListeners.delete(listener);
      regulate();
    },
    addCaCertificateListener(listener) {
      caListeners.add(listener);
      regulate();
      process.nextTick(() => listener(authorities()));
    },
    removeCaCertificateListener(listener) {
      caListeners.delete(listener);
      regulate();
    },
  };
  const asked = clientCa !== undefined;
  // Identity comes first, whatever its declaration names its parameters.
  return experimental.createCertificateProviderServerCredentials(
    provider,
    asked ? provider : null,
    asked,
  );
}

function readNamed(name: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`grpc.tls.${name}: \`${file}\` cannot be read`, { cause: error });
  }
}

/** @throws Error for what no connection could be made with */
function usable(material: Material): Material {
  const { cert, key, ca } = material;
  try {
    createSecureContext({ cert, key, ca });
    if (ca !== undefined) mustBeCertificates(ca.toString());
    return material;
  } catch (error) {
    throw new Error('grpc.tls: cert, key or client_ca cannot be used', { cause: error });
  }
}

/** Why nobody who checks a certificate takes it now; `undefined`: its time has come and is not over. */
function timeProblem({ cert }: Material): string | undefined {
  const { validFromDate, validToDate } = new X509Certificate(cert);
  const now = Date.now();
  if (validToDate.getTime() <= now) return `has expired on ${validToDate.toISOString()}`;
  return validFromDate.getTime() > now
    ? `is not valid before ${validFromDate.toISOString()}`
    : undefined;
}

function endOf({ cert }: Material): number {
  return new X509Certificate(cert).validToDate.getTime();
}

/** A context takes a list of authorities that is none, and then trusts nobody. @throws Error */
function mustBeCertificates(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length !== pem.split('-----BEGIN CERTIFICATE-----').length - 1)
    throw new Error('the authorities are not complete PEM certificates');
  for (const block of blocks) void new X509Certificate(block);
}

function same(one: Material, other: Material): boolean {
  const ca = one.ca ?? Buffer.alloc(0);
  return (
    one.cert.equals(other.cert) &&
    one.key.equals(other.key) &&
    ca.equals(other.ca ?? Buffer.alloc(0))
  );
}
