/** The gRPC library writes errors to stderr itself; the callers in this code report them instead. */
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

/** Turns the library's output off; GRPC_VERBOSITY turns it on again. */
export function quietGrpc(): void {
  const { GRPC_VERBOSITY, GRPC_NODE_VERBOSITY } = process.env;
  if ((GRPC_VERBOSITY ?? '') === '' && (GRPC_NODE_VERBOSITY ?? '') === '')
    setLogVerbosity(logVerbosity.NONE);
}
