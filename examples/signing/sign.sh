secret=$(cat app_token)
jid=$(openssl rand -hex 12)
at=$(date +%s)
arguments='{"host":"example.org","user":"bob"}'
text='["v1q","app",'$at',"'$jid'","kick_user",'$arguments',null,"rest"]'
hex=$(printf %s "$text" | openssl dgst -sha256 -hmac "$secret" | sed 's/.* //')
echo '{"class":"Restbroker","jid":"'$jid'","queue":"rest","args":["kick_user",'$arguments',"v1q:app:'$at:$hex'"]}'
