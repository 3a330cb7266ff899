/** fast-check, drawing by the seed of the run. */
import fc from 'fast-check';
import { SEED } from './seed.ts';

fc.configureGlobal({ seed: SEED });

export default fc;
