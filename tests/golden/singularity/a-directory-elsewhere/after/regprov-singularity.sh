# Written by regprov. Holds no secret: the login lies where only its readers can read it.
[ -r '/opt/it;s/regprov/singularity.sh' ] && . '/opt/it;s/regprov/singularity.sh'
