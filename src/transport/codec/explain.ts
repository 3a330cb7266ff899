/** `ExplainResponse`; an ExplainRequest is read as a CheckRequest. */
import { credentialProblemText, type CredentialProblem } from '../../engine/credential-problem.ts';
import type { Explanation, LayerVerdict } from '../../engine/explanation.ts';
import type { CheckAnswer } from '../../service/calls.ts';
import { writeCheck } from './check.ts';
import { Writer } from './wire.ts';

const writer = new Writer();

const VERDICT: Readonly<Record<LayerVerdict, number>> = { allow: 1, deny: 2, silent: 3 };

/** @param problem why the credential proves nobody, where the caller may know: for others it is left out */
export function encodeExplain(
  answer: CheckAnswer & { readonly explanation: Explanation },
  problem?: CredentialProblem,
): Buffer {
  const { layers, missing, missingComplete } = answer.explanation;
  writer.message(1, () => writeCheck(writer, answer));
  for (const layer of layers)
    writer.message(2, () => {
      writer.string(1, layer.name);
      writer.uint(2, VERDICT[layer.verdict]);
      const isToldWhy = problem !== undefined && layer.name === 'credential';
      writer.string(3, isToldWhy ? credentialProblemText(problem) : layer.summary);
      for (const fact of layer.facts)
        writer.message(4, () => {
          writer.string(1, fact.kind);
          writer.string(2, fact.text);
          for (const link of fact.chain ?? []) writer.element(3, link);
        });
    });
  for (const { kind, text } of missing)
    writer.message(3, () => {
      writer.string(1, kind);
      writer.string(2, text);
    });
  writer.bool(4, missingComplete);
  writer.string(5, problem ?? '');
  return writer.finish();
}
