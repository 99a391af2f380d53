import { type ProblemCode, problemTable } from '../domain/errors.ts';

/** An RFC 9457 problem document. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  code: ProblemCode;
  detail: string;
  request_id: string;
  /** Further members depend on the code. */
  [field: string]: unknown;
}

/** The same as JSON Schema. */
export const problemSchema = {
  type: 'object',
  description: 'RFC 9457 problem details; further members depend on the code',
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', enum: problemTable.map(({ code }) => code) },
    detail: { type: 'string' },
    request_id: { type: 'string' },
  },
  required: ['type', 'title', 'status', 'code', 'detail', 'request_id'],
};
