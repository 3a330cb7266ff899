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
  const provider = new FileCertificates(files, onError, onCertificate);
  const asksCallers = files.clientCa !== undefined;
  // Identity comes first, whatever its declaration names its parameters.
  return experimental.createCertificateProviderServerCredentials(
    provider,
    asksCallers ? provider : null,
    asksCallers,
  );
}

/** Certificates of files. They are looked at as long as somebody listens. */
class FileCertificates implements experimental.CertificateProvider {
  readonly #files: TlsFiles;
  readonly #onError: (error: unknown) => void;
  readonly #onCertificate: (until: number) => void;
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();
  readonly #caListeners = new Set<experimental.CaCertificateUpdateListener>();
  /** The last usable ones. */
  #good: Material;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    files: TlsFiles,
    onError: (error: unknown) => void,
    onCertificate: (until: number) => void,
  ) {
    this.#files = files;
    this.#onError = onError;
    this.#onCertificate = onCertificate;
    const { cert, key, clientCa } = files;
    this.#good = usable({
      cert: readNamed('cert', cert),
      key: readNamed('key', key),
      ca: clientCa === undefined ? undefined : readNamed('client_ca', clientCa),
    });
    const wrong = timeProblem(this.#good);
    // There is no better one: callers that check it refuse it themselves.
    if (wrong !== undefined) onError(new Error(`grpc.tls.cert: \`${cert}\` ${wrong}: renew it`));
    onCertificate(endOf(this.#good));
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    this.#regulate();
    // The library registers the listener only after this call.
    process.nextTick(() => listener(this.#identity()));
  }

  removeIdentityCertificateListener(
    listener: experimental.IdentityCertificateUpdateListener,
  ): void {
    this.#identityListeners.delete(listener);
    this.#regulate();
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.add(listener);
    this.#regulate();
    process.nextTick(() => listener(this.#authorities()));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#caListeners.delete(listener);
    this.#regulate();
  }

  #identity(): experimental.IdentityCertificateUpdate {
    return { certificate: this.#good.cert, privateKey: this.#good.key };
  }

  #authorities(): experimental.CaCertificateUpdate | null {
    return this.#good.ca === undefined ? null : { caCertificate: this.#good.ca };
  }

  /** Looks at the files in intervals while there are listeners. */
  #regulate(): void {
    const { reloadMs } = this.#files;
    const isWanted = reloadMs > 0 && this.#identityListeners.size + this.#caListeners.size > 0;
    if (!isWanted) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else
      this.#timer ??= setInterval(() => void this.#look().catch(this.#onError), reloadMs).unref();
  }

  async #look(): Promise<void> {
    const { cert, key, clientCa } = this.#files;
    const [newCert, newKey, ca] = await Promise.all([
      readFile(cert),
      readFile(key),
      clientCa === undefined ? undefined : readFile(clientCa),
    ]);
    const found = { cert: newCert, key: newKey, ca };
    if (same(found, this.#good)) return;
    const next = usable(found);
    const wrong = timeProblem(next);
    if (wrong !== undefined && timeProblem(this.#good) === undefined)
      throw new Error(`grpc.tls.cert: \`${cert}\` ${wrong}: the certificate before it serves on`);
    this.#good = next;
    this.#onCertificate(endOf(next));
    for (const listener of this.#identityListeners) listener(this.#identity());
    for (const listener of this.#caListeners) listener(this.#authorities());
  }
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
