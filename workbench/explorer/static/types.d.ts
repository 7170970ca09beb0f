/** Shapes that the views share; checked by `tsc --checkJs`, never loaded by a browser. */
import type { Store } from "./store.js";
import type { Thumbnails } from "./thumbnails.js";

export interface Column {
  title: string;
  kind: "class" | "number" | "flag" | "category";
  dtype: string;
  categories: string[];
  restates?: boolean;
  values: ArrayLike<number> & Iterable<number> & { forEach(call: (value: number, k: number) => void): void };
}

/** One filter; which fields it has follows from its kind, as `selection.check_selection` in Python describes. */
export interface Step {
  kind: "cells" | "range" | "any" | "inside" | "tags" | "rows";
  cells?: number[][];
  column?: string;
  low?: number | null;
  high?: number | null;
  values?: (string | number)[];
  map?: string;
  polygon?: number[];
  words?: string[] | string;
  rows?: number[];
}

export interface Selection {
  steps: Step[];
  wrong_only: boolean;
  order: string;
  descending: boolean;
  selected: number;
  picked: number[];
  methods: string[];
  layers: string[];
  targets: string[];
}

export interface Decision {
  tags: string[];
  label: number | null;
  note: string;
}

/** Words that Python and the views share: `shared_words` in words.py. */
export interface Words {
  tags: string[];
  verdicts: string[];
  outcomes: Record<string, string>;
  layouts: Record<string, string>;
  targets: string[];
  questions: string[];
  answers: Record<string, string>;
  cohort: string;
  marks: Record<string, string>;
}

/** What the views say of the run as a whole: `ExplorerState.header` in Python. */
export interface Header {
  name: string;
  notes: string[];
  classes: string[];
  rows: number;
  errors: number;
  cells: number[];
  order: number[];
  class_report: { support: number; errors: number; rate: number | null; low: number; high: number }[];
  reliability: {
    edges: number[];
    counts: number[];
    confidence: number[];
    accuracy: number[];
    low: number[];
    high: number[];
    error: number[];
    direction: string;
  };
  ramps: { true: number[]; false: number[] };
  palette: string[];
  words: Words;
  start: Selection;
  provenance: { data: string | null; split: string | null };
  decide?: boolean;
  comparison?: Record<string, any> & { name: string };
  robustness?: Robustness;
}

/** How answers change with the image: `columns.robustness_header` in Python. A point is accuracy and its interval. */
export interface Robustness {
  sentences: string[];
  names: string[];
  groups: { name: string; rows: number }[];
  clean: [number, number, number][];
  curves: Record<string, [number, number, number][]>[];
}

export interface Method {
  name: string;
  family: string;
  layers: boolean;
  slow: boolean;
  citation: string;
  settings: Setting[];
}

/** What one may set of a method: its default, its kind, the least number or the choices. */
export interface Setting {
  name: string;
  value: string | number;
  kind: string;
  least?: number;
  choices?: string[];
}

/** One map, or why there is none. */
export interface AttributionMap {
  title: string;
  unit?: string; // of its grid: pixels, or cells of one
  method: string;
  kind?: string;
  layer: string;
  target: string;
  model: string;
  refused: string;
  grid?: number[];
  signed?: boolean;
  residual?: number | null;
  remark?: string;
  values: Float32Array | null;
  of?: number;
  image?: ImageData;
  ends?: string[];
}

/** What the views ask for: answered by the kernel in a notebook, by the page itself in a file. */
export interface Source {
  can: { images: boolean; maps: boolean; map: boolean; neighbours: boolean; compare: boolean; fixes: boolean; similar: boolean; origins: boolean };
  methods: Method[];
  layers: { name: string; grid: number[] }[];
  thumbnails: Thumbnails;
  noMaps?: string;
  keeps?: boolean;
  kept?: string;
  detail(row: number): Promise<any>;
  explain(
    spec: { row: number; methods: string[]; layers: string[]; targets: string[] },
    tell?: (words: string) => void,
    seen?: (maps: AttributionMap[]) => void,
  ): Promise<{ maps: AttributionMap[]; verdicts?: Map<number, any> }>;
  group?(rows: number[], tell?: (words: string) => void): Promise<any>;
  concepts?(pair: string[], rows: number[], tell?: (words: string) => void): Promise<any>;
  counterparts?(rows: number[]): Promise<{ pairs: any[] }>;
  map(name: string, tell?: (words: string) => void): Promise<Float32Array>;
  findings?: ((tell?: (words: string) => void) => Promise<any>) | null;
  cohorts?(): Promise<any>;
  saveCohort?(what: object): Promise<any>;
  removeCohort?(name: string): Promise<any>;
  origins?(row: number): Promise<any>;
  similar?(row: number): Promise<{ rows: number[]; similarity: number[] }>;
  evidence?(spec: object, tell: (said: any) => void): Promise<any>;
  whatIf?(what: object): Promise<any>;
  flips?(row: number): Promise<any[]>;
  decide?(change: object): Promise<any>;
  decisions?(): Promise<Record<string, Decision>>;
  undo?(): Promise<any>;
  redo?(): Promise<any>;
  figure?(view: string, format: string): Promise<{ name: string; bytes: BlobPart }>;
  table?(what: string): Promise<{ name: string; bytes: BlobPart }>;
  code?(): Promise<string>;
  warmUp?(): Promise<any>;
  stop?(job: string): Promise<any>;
}

export interface Context {
  store: Store;
  source: Source;
  header: Header;
}

/** What the explorer asks of each view. */
export interface View {
  node: HTMLElement;
  update(changed: Set<string>): unknown;
  shown?(): unknown;
  close?(): void;
}
