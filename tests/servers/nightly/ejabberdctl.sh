# Accounts, and what is wrong with some of them.
ejabberdctl register alice localhost secret
ejabberdctl register alice localhost secret
ejabberdctl register bob nowhere.example secret
ejabberdctl register ünï localhost 'geh""eim \ ☂'
ejabberdctl check-account alice localhost && echo and on
ejabberdctl check_account nobody localhost || echo or not
ejabberdctl change_password nobody localhost new
ejabberdctl registered_users localhost

# Numbers, texts, words, tuples, lists and nothing.
ejabberdctl connected_users_number
ejabberdctl user_sessions_info alice localhost
ejabberdctl get_loglevel
ejabberdctl set_last alice localhost 1500045311 "gone	for ☂"
ejabberdctl get_last alice localhost

# Rosters, vCards and what is private.
ejabberdctl add_rosteritem alice localhost bob localhost Bob Friends both
ejabberdctl get_roster alice localhost | sort
ejabberdctl set_vcard2_multi alice localhost ORG ORGUNIT '["A","B"]'
ejabberdctl get_vcard2_multi alice localhost ORG ORGUNIT

# Groups.
ejabberdctl srg_create group localhost Group "A group" 'one\ntwo'
ejabberdctl srg_get_info group localhost
ejabberdctl srg_create unnamed localhost "" "" ""
ejabberdctl srg_get_info unnamed localhost

# Rooms.
ejabberdctl create_room room conference.localhost localhost
ejabberdctl create_room room conference.localhost localhost
ejabberdctl change_room_option room conference.localhost persistent true
ejabberdctl set_room_affiliation room conference.localhost alice@localhost owner
ejabberdctl get_room_affiliations room conference.localhost
ejabberdctl get_room_occupants nothing conference.localhost
ejabberdctl destroy_room room conference.localhost

# Messages, what is unknown, and what is miscounted.
ejabberdctl send_message chat @@ alice@localhost Hi "How are you"
ejabberdctl regster alice
ejabberdctl --version x connected_users_number

ejabberdctl unregister alice localhost
ejabberdctl unregister ünï localhost
ejabberdctl unregister alice nowhere.example
