/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page's text. It knows no field of the status by name, so it need not change with it:
 * plain members become a list, arrays of objects tables. Values go in as text, never as HTML.
 */
#include "http_page.h"

const char mr_http_page[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Millrace</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<style>:root{color-scheme:light dark}"
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em;max-width:70em}"
    "h1{font-size:1.3em}h2{font-size:1em;margin:1.2em 0 .3em}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid #8884}th{font-weight:600}#note{color:#777}.bad{color:#c22}"
    "</style></head><body>\n<h1>Millrace</h1><p id=\"note\" role=\"status\">loading</p>"
    "<main id=\"all\"></main>\n<script>\n"
    "const el=(name,text)=>{const e=document.createElement(name);"
    "if(text!==undefined)e.textContent=text;return e};\n"
    "const plain=v=>v===null||typeof v!=='object';\n"
    "const show=v=>v===null?'':plain(v)?String(v):JSON.stringify(v);\n"
    "function row(cells,kind){const r=el('tr');for(const c of cells)r.append(el(kind,c));return "
    "r}\n"
    "function rows(list){const t=el('table');\n"
    " if(!list.every(v=>!plain(v)&&!Array.isArray(v))){"
    "for(const v of list)t.append(row([show(v)],'td'));return t}\n"
    " const keys=[...new Set(list.flatMap(v=>Object.keys(v)))];t.append(row(keys,'th'));\n"
    " for(const v of list)t.append(row(keys.map(k=>k in v?show(v[k]):''),'td'));return t}\n"
    "function draw(title,v,into){const t=el('table');\n"
    " for(const [k,m] of Object.entries(v))if(plain(m))t.append(row([k,show(m)],'td'));\n"
    " if(title)into.append(el('h2',title));if(t.rows.length)into.append(t);\n"
    " for(const [k,m] of Object.entries(v)){if(plain(m))continue;const name=title?title+' '+k:k;\n"
    "  if(!Array.isArray(m))draw(name,m,into);"
    "else if(m.length){into.append(el('h2',name));into.append(rows(m))}}}\n"
    "async function poll(){const note=document.getElementById('note');try{\n"
    " const r=await fetch('/v1/status',{cache:'no-store'});if(!r.ok)throw Error(r.status);\n"
    " const v=await r.json(),all=document.createDocumentFragment();draw('',v,all);\n"
    " document.getElementById('all').replaceChildren(all);note.className='';\n"
    " note.textContent='as of '+new Date().toISOString()}\n"
    " catch(e){note.className='bad';note.textContent='no answer from the server ('+e.message+')'}\n"
    " setTimeout(poll,2000)}\npoll();\n</script></body></html>\n";
