/** The gRPC library writes what went wrong to stderr itself, in its own words: whoever calls it tells that. */
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/** Keeps the library from writing; GRPC_VERBOSITY, which it reads itself, still makes it. */
export function quietGrpc(): void {
  const { GRPC_VERBOSITY, GRPC_NODE_VERBOSITY } = process.env;
  if ((GRPC_VERBOSITY ?? '') === '' && (GRPC_NODE_VERBOSITY ?? '') === '')
    setLogVerbosity(logVerbosity.NONE);
}
