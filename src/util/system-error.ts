/** Errors of the operating system and the network as sentences with the remedy. */

/** By the error code of Node. */
const SENTENCES: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory: check the path',
  ENOTDIR: 'a part of the path is no directory: check the path',
  EISDIR: 'it is a directory: name a file',
  EACCES: 'this user may not: change the permissions, or run as another user',
  EPERM: 'this user may not: change the permissions, or run as another user',
  ELOOP: 'its symbolic links lead back to themselves: mend the links',
  ENAMETOOLONG: 'the path is too long: use a shorter one',
  EEXIST: 'it is there already: choose another path',
  EROFS: 'the file system is read-only: choose another path, or mount it for writing',
  ENOSPC: 'the disk is full: make room',
  EDQUOT: 'the quota of the disk is used up: make room',
  EIO: 'the disk does not answer as it should: look at the logs of the system',
  EMFILE: 'too many files are open: raise the limit (ulimit -n)',
  ENFILE: 'too many files are open on this machine: raise its limit',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was closed by the other side',
  EPIPE: 'the connection was closed by the other side',
  ETIMEDOUT: 'there was no answer in time',
  EHOSTUNREACH: 'the host is not reachable from here',
  ENETUNREACH: 'the network is not reachable from here',
  ENOTFOUND: 'the name of the host is not known',
  EAI_AGAIN: 'the name of the host cannot be looked up now',
  EADDRINUSE: 'another process listens there: stop it, or choose another address',
  EADDRNOTAVAIL: 'this machine does not have that address: choose one of its own',
  EINVAL: 'the system refuses it as invalid: check its length and its form',
  ERR_SOCKET_BAD_PORT: 'the port is not from 1 to 65535: check the address',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'it is not UTF-8: save it as UTF-8',
  EPROTO: 'the other side does not speak TLS: leave --tls out, or check the address',
  ERR_SSL_WRONG_VERSION_NUMBER:
    'the other side does not speak TLS: leave --tls out, or check the address',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not of a trusted authority: name that in --ca',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not of a trusted authority: name that in --ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'its certificate is not of a trusted authority: name that in --ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'its certificate is not of a trusted authority: name that in --ca',
  CERT_HAS_EXPIRED: 'its certificate has expired: renew it',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is for another name: use the name of the certificate as address',
};

/** @param code error code of Node, such as `ENOENT` */
export function systemSentence(code: string): string | undefined {
  return Object.hasOwn(SENTENCES, code) ? SENTENCES[code] : undefined;
}

/** The sentence of a system error, otherwise the error's own message. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const sentence =
    'code' in error && typeof error.code === 'string' ? systemSentence(error.code) : undefined;
  return sentence ?? error.message;
}
