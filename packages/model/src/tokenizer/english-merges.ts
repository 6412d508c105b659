/** Frequent pieces of English, each as the merge of two earlier ones, most frequent first; `_` stands for a space. */
const PIECES = `
t+h h+e i+n e+r a+n r+e o+n a+t e+n n+d t+i e+s o+r t+e o+f e+d i+s i+t a+l a+r s+t t+o n+t s+e h+a a+s o+u i+o l+e v+e c+o
m+e d+e h+i r+i r+o i+c n+e e+a r+a c+e l+i c+h l+l b+e m+a s+i o+m u+r _+t _+a _+s _+o _+w _+c _+b _+f _+p _+m _+i _+h _+d
_+l _+n _+e _+r _+g _+u _+y _+v _+k _+j th+e in+g an+d _t+he _a+nd _o+f _t+o _i+n _i+s _a+n i+on ti+on t+er e+nt a+ti ati+on
_w+as _f+or _o+n _b+e _a+s _i+t _h+e _w+i _wi+th _h+is _a+t _b+y _a+re _f+ro _fro+m _h+a _ha+ve _ha+d _w+e _s+he _on+e _c+an
_w+h _wh+en _wh+at _wh+o _wi+ll _the+re _the+y _m+y _m+e _d+o _s+o _u+p _i+f _n+o _a+b _ab+ou _abou+t _m+or _mor+e _s+a _sa+i
_sai+d l+y e+ly m+ent i+ve er+s ing+s o+o e+e s+s f+f t+t p+p r+r m+m n+n g+h i+g ig+h igh+t o+w a+y a+k _k+n _kn+ow _t+i
_ti+me _p+e _pe+o _s+t _st+a _c+o _co+n _p+ro _d+e _e+x _i+m _u+n _s+e _s+p _s+h _c+h _t+r _f+r _b+r _g+r _p+r w+or wor+l
worl+d l+d _w+or _wor+k _l+o _g+oo _goo+d _gr+ea _grea+t _a+f _af+ter _m+a _d+ay _w+ay _y+ea _yea+r _h+ow _n+ow _o+ur _o+u
_in+to _s+om _the+s _thes+e _on+ly _c+ou _w+ou _sh+ou _shou+ld H+e l+o T+h Th+e I+t A+n W+h 1+0 2+0 20+2 0+0 00+0
`;

/** Merges of byte-level BPE, in order. */
export const ENGLISH_MERGES: readonly (readonly [left: string, right: string])[] = PIECES.trim()
  .replaceAll("_", "Ġ")
  .split(/\s+/u)
  .map((piece) => {
    const [left = "", right = ""] = piece.split("+");
    return [left, right] as const;
  });
